// Segment a photo through the REST service: client [URL] [PHOTO] [OUTPUT]

#include <fstream>
#include <iostream>
#include <iterator>
#include <stdexcept>
#include <string>

#include <httplib.h>
#include <nlohmann/json.hpp>

#include "base64.hpp"

namespace {

std::string read_file(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    if (!file) throw std::runtime_error("cannot read " + path);
    return {std::istreambuf_iterator<char>(file), {}};
}

void write_file(const std::string& path, const std::string& bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file) throw std::runtime_error("cannot write " + path);
}

nlohmann::json segment(const std::string& url, const std::string& photo) {
    const auto path = url.find('/', url.find("://") + 3);
    if (path == std::string::npos) throw std::runtime_error(url + " has no path such as /instance-segmentation");
    httplib::Client client(url.substr(0, path));
    client.set_read_timeout(60);

    const nlohmann::json payload = {{"image", base64::to_base64(read_file(photo))}};
    const auto response = client.Post(url.substr(path), payload.dump(), "application/json");
    if (!response) throw std::runtime_error("no answer from " + url + ": " + httplib::to_string(response.error()));

    const auto answer = nlohmann::json::parse(response->body);
    if (response->status != 200) {
        throw std::runtime_error(answer["errorCode"].dump() + ": " + answer["errorMsg"].get<std::string>());
    }
    return answer["result"];
}

}  // namespace

int main(int argc, char* argv[]) {
    const std::string url = argc > 1 ? argv[1] : "http://localhost:8080/instance-segmentation";
    const std::string photo = argc > 2 ? argv[2] : "demo.jpg";
    const std::string output = argc > 3 ? argv[3] : "out.jpg";
    try {
        const auto result = segment(url, photo);
        write_file(output, base64::from_base64(result["image"].get<std::string>()));
        std::cout << "Output image saved at " << output << "\n\nInstances:\n" << result["instances"] << "\n";
    } catch (const std::exception& error) {
        std::cerr << error.what() << "\n";
        return 1;
    }
}
