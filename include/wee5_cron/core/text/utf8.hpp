#pragma once

#include <string>

namespace wee5::core {

// Appends a code point in UTF-8. It is at most U+10FFFF and no surrogate.
void append_utf8(std::string& out, char32_t code_point);

}  // namespace wee5::core
