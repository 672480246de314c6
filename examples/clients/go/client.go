// Segment a photo through the REST service: go run client.go [URL] [PHOTO] [OUTPUT]
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"time"
)

// Answer is the service's envelope. encoding/json writes and reads []byte as Base64.
type Answer struct {
	ErrorCode int    `json:"errorCode"`
	ErrorMsg  string `json:"errorMsg"`
	Result    struct {
		Image     []byte          `json:"image"`
		Instances json.RawMessage `json:"instances"`
	} `json:"result"`
}

func argument(position int, otherwise string) string {
	if len(os.Args) > position {
		return os.Args[position]
	}
	return otherwise
}

func segment(url string, photo []byte) (*Answer, error) {
	payload, err := json.Marshal(map[string][]byte{"image": photo})
	if err != nil {
		return nil, err
	}
	client := &http.Client{Timeout: time.Minute}
	response, err := client.Post(url, "application/json", bytes.NewReader(payload))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer := new(Answer)
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%d: %s", answer.ErrorCode, answer.ErrorMsg)
	}
	return answer, nil
}

func main() {
	log.SetFlags(0)
	url := argument(1, "http://localhost:8080/instance-segmentation")
	output := argument(3, "out.jpg")
	photo, err := os.ReadFile(argument(2, "demo.jpg"))
	if err != nil {
		log.Fatal(err)
	}
	answer, err := segment(url, photo)
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(output, answer.Result.Image, 0o644); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("Output image saved at %s\n\nInstances:\n%s\n", output, answer.Result.Instances)
}
