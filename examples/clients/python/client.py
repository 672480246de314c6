"""Segment a photo through the REST service: python client.py [URL] [PHOTO] [OUTPUT]."""

import base64
import json
import sys
from pathlib import Path

import requests

DEFAULTS = ["http://localhost:8080/instance-segmentation", "demo.jpg", "out.jpg"]


def main() -> None:
    url, photo, output = sys.argv[1:4] + DEFAULTS[len(sys.argv[1:4]) :]

    image = base64.b64encode(Path(photo).read_bytes()).decode("ascii")
    response = requests.post(url, json={"image": image}, timeout=60)
    answer = response.json()
    if response.status_code != requests.codes.ok:
        sys.exit(f"{answer['errorCode']}: {answer['errorMsg']}")

    result = answer["result"]
    Path(output).write_bytes(base64.b64decode(result["image"]))
    print(f"Output image saved at {output}")
    print("\nInstances:")
    print(json.dumps(result["instances"]))


if __name__ == "__main__":
    main()
