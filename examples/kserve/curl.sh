#!/usr/bin/env bash
# Segment a photo with curl alone:  curl.sh MODEL PHOTO [THRESHOLD] [URL]
#
# An image is a BYTES tensor, and JSON strings are text, so it cannot travel inside the JSON (the protocol has no Base64
# there). It follows the JSON as it is, in the form of the binary extension: the header Inference-Header-Content-Length
# says where the JSON ends, and four bytes of length, little-endian, stand in front of the file. The answer is JSON.
set -euo pipefail

model=${1:?usage: curl.sh MODEL PHOTO [THRESHOLD] [URL]}
photo=${2:?usage: curl.sh MODEL PHOTO [THRESHOLD] [URL]}
threshold=${3:-}
url=${4:-http://localhost:8000}

size=$(wc -c <"$photo")
inputs='{"name": "IMAGE", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": '$((size + 4))'}}'
if [[ -n $threshold ]]; then
    inputs+=', {"name": "THRESHOLD", "datatype": "FP32", "shape": [1], "data": ['$threshold']}'
fi
json='{"inputs": ['$inputs']}'

little_endian() {
    local value=$1 escaped="" shift
    for shift in 0 8 16 24; do escaped+=$(printf '\\x%02x' $((value >> shift & 255))); done
    printf %b "$escaped"
}

{
    printf %s "$json"
    little_endian "$size"
    cat "$photo"
} | curl --silent --show-error --fail-with-body --data-binary @- \
    --header "Inference-Header-Content-Length: ${#json}" \
    --header "Content-Type: application/octet-stream" \
    "$url/v2/models/$model/infer"
echo
