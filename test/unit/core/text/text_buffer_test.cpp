#include "wee5_cron/core/text/text_buffer.hpp"

#include <gtest/gtest.h>

#include <new>
#include <stdexcept>

namespace wee5::core {
namespace {

TEST(TextBuffer, HoldsSeveralTexts) {
  char memory[8];
  TextBuffer buffer{memory, sizeof(memory), 0};
  const char* first = buffer.put("abc");
  const char* empty = buffer.put("");
  const char* last = buffer.put("de");
  EXPECT_STREQ(first, "abc");
  EXPECT_STREQ(empty, "");
  EXPECT_STREQ(last, "de");
  EXPECT_EQ(buffer.length, sizeof(memory));
}

// Reported as what it is: std::bad_alloc would tell the user that the server is out of memory.
TEST(TextBuffer, ReportsThatItIsTooSmall) {
  char memory[4];
  TextBuffer buffer{memory, sizeof(memory), 0};
  try {
    buffer.put("abcd");
    FAIL() << "there is no room for the NUL";
  } catch (const std::bad_alloc&) {
    FAIL() << "out of memory";
  } catch (const std::length_error& error) {
    EXPECT_STREQ(error.what(), "a text buffer is too small");
  }
  EXPECT_EQ(buffer.length, 0U);
  buffer.put("abc");
  EXPECT_THROW(buffer.put(""), std::length_error);
}

}  // namespace
}  // namespace wee5::core
