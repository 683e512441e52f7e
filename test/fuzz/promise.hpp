#pragma once

#include <cstdio>
#include <cstdlib>
#include <string_view>

// A promise of the code under test. If it is broken, the fuzzer stops and keeps the input.
#define WEE5_PROMISE(condition)                                                      \
  do {                                                                               \
    if (!(condition)) {                                                              \
      std::fprintf(stderr, "%s:%d: not kept: %s\n", __FILE__, __LINE__, #condition); \
      std::abort();                                                                  \
    }                                                                                \
  } while (false)

namespace wee5::fuzz {

// Takes the next line off the input, so that seeds are text files that a person can read. Empty after the last line.
inline std::string_view take_line(std::string_view& input) {
  const std::size_t end = input.find('\n');
  const std::string_view line = input.substr(0, end);
  input.remove_prefix(end == std::string_view::npos ? input.size() : end + 1);
  return line;
}

}  // namespace wee5::fuzz
