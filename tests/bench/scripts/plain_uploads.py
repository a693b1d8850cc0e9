"""What an upload costs elsewhere, as a server of its own: the usual way, and a bare copy of the body to a file.

POST /usual   FastAPI's UploadFile, then copied to its place
POST /raw     each piece of the body as it comes
"""

import os
import shutil
import sys
import tempfile

import uvicorn
from fastapi import FastAPI, Request, UploadFile

app = FastAPI()
folder = tempfile.mkdtemp(dir=sys.argv[2])


def synced(sink):
    sink.flush()
    os.fsync(sink.fileno())


@app.post("/usual")
def usual(file: UploadFile):
    with open(os.path.join(folder, "usual"), "wb") as sink:
        shutil.copyfileobj(file.file, sink)
        synced(sink)
    return {"bytes": os.path.getsize(os.path.join(folder, "usual"))}


@app.post("/raw")
async def raw(request: Request):
    with open(os.path.join(folder, "raw"), "wb") as sink:
        async for piece in request.stream():
            sink.write(piece)
        synced(sink)
    return {"bytes": os.path.getsize(os.path.join(folder, "raw"))}


uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", access_log=False)
