#pragma once

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace wee5::core {

// A buffer that C++ fills and does not own. It outlives the C++ objects whose texts it holds. Its owner computes how
// much will be needed; if it is too small, that is a bug and no lack of memory.
struct TextBuffer {
  char* data;
  std::size_t capacity;
  std::size_t length;

  // Appends `text` and a NUL, and returns where the text begins. Throws std::length_error if there is no room, and
  // leaves the buffer as it was.
  char* put(std::string_view text) {
    if (capacity - length <= text.size()) throw std::length_error("a text buffer is too small");
    char* start = data + length;
    if (!text.empty()) memcpy(start, text.data(), text.size());
    start[text.size()] = '\0';
    length += text.size() + 1;
    return start;
  }
};

}  // namespace wee5::core
