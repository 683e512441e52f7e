#pragma once

#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string_view>

namespace wee5::core {

// Memory that somebody else gave and that C++ fills: it outlives the C++ objects whose text it holds. Whoever gives it
// says how much will be needed, so too little is a mistake in the code and not a machine without memory.
struct TextBuffer {
  char* data;
  std::size_t capacity;
  std::size_t length;

  // Appends `text` with a NUL behind it; returns where it stands. Throws std::length_error when there is no room, and
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
