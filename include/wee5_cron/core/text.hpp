#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// Bytes from the network as valid UTF-8 without NUL: what is not becomes U+FFFD. `cut` says that the bytes were
// cut off at a limit: then an incomplete character at the end is dropped instead.
std::string valid_utf8(std::string_view bytes, bool cut = false);

// `text` with every occurrence of the secret, also percent-encoded and as base64, replaced by "[secret]", or by U+FFFD
// where the secret itself holds such brackets.
std::string redact(std::string_view text, std::string_view secret);

// At most `max_bytes` bytes of valid UTF-8, cut between characters, "..." at the end where it was cut.
std::string shorten(std::string_view utf8, std::size_t max_bytes);

// `text` for the inside of a message: one line, at most `max_bytes` bytes, valid UTF-8; control bytes, bad bytes and
// invisible or direction-changing characters written as \xNN or \uNNNN, so that a value shows what it holds.
std::string printable(std::string_view text, std::size_t max_bytes = 100);

// `text` as an SQL string literal that means the same whatever standard_conforming_strings says.
std::string sql_literal(std::string_view text);

}  // namespace wee5::core
