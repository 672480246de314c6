// Base64 (RFC 4648), with the interface of https://github.com/tobiaslocker/base64, so that either header will do.

#pragma once

#include <stdexcept>
#include <string>
#include <string_view>

namespace base64 {

inline constexpr std::string_view alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

inline std::string to_base64(std::string_view bytes) {
    std::string text;
    unsigned int buffer = 0;  // at most 6 + 8 bits are waiting in it
    int bits = 0;
    for (unsigned char byte : bytes) {
        buffer = (buffer << 8 | byte) & 0xffff;
        for (bits += 8; bits >= 6; bits -= 6) text += alphabet[buffer >> (bits - 6) & 63];
    }
    if (bits > 0) text += alphabet[buffer << (6 - bits) & 63];
    text.append((4 - text.size() % 4) % 4, '=');
    return text;
}

inline std::string from_base64(std::string_view text) {
    while (!text.empty() && text.back() == '=') text.remove_suffix(1);
    std::string bytes;
    unsigned int buffer = 0;
    int bits = 0;
    for (char character : text) {
        const auto value = alphabet.find(character);
        if (value == std::string_view::npos) throw std::runtime_error("this is not Base64");
        buffer = (buffer << 6 | static_cast<unsigned int>(value)) & 0xffff;
        bits += 6;
        if (bits >= 8) bytes += static_cast<char>(buffer >> (bits -= 8) & 255);
    }
    return bytes;
}

}  // namespace base64
