#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// Makes valid UTF-8 without NUL from bytes of the network: invalid bytes become U+FFFD. `cut`: the bytes were cut off
// at a limit, so an incomplete character at the end is dropped instead.
std::string valid_utf8(std::string_view bytes, bool cut = false);

// At most `max_bytes` bytes of valid UTF-8. Cuts between characters, and puts "..." at the end if it cuts.
std::string shorten(std::string_view utf8, std::size_t max_bytes);

// `text` as part of a message: one line of valid UTF-8, at most `max_bytes` bytes. Writes control bytes, invalid bytes
// and invisible or direction-changing characters as \xNN or \uNNNN, so that a reader sees them.
std::string printable(std::string_view text, std::size_t max_bytes = 100);

// `text` as an SQL string literal that means the same with standard_conforming_strings on and off.
std::string sql_literal(std::string_view text);

}  // namespace wee5::core
