"""pointsman: one OpenAI-compatible endpoint over many expert LLMs, with a trained router in front.

    app.py       build(settings) -> the Serve application: every deployment and every arrow
    config/      what a file in deployments/ may say
    protocol.py  the nouns every room speaks, and the Encoder and Predictor seams
    errors.py    the error tree
    weights.py   a model reference -> a local directory whose bytes were checked
    settings_file.py  a file in deployments/ -> checked Settings
    cli.py       the pointsman command
    keys.py      API keys: made, hashed, read
    launch.py    the serve command: checks, then Ray's own; supervise.py stands beside it
    routing/     chooses: numpy only
    encoding/    reads: chats to vectors
    online/      moves bytes: the only room that imports ray or vllm
    offline/     learns and judges; never imported by online/

Only ever `from serve.x import y`: a plain `import serve.x` rebinds Ray's own name `serve`.
"""

__version__ = "0.1.0"
