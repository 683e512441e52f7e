#include "wee5_cron/core/text/json.hpp"

#include <gtest/gtest.h>

#include <string>

namespace wee5::core {
namespace {

TEST(Json, ReadsObjectsAndStrings) {
  const auto value = parse_json(R"( {"a": "one", "b" : {"c":"two","d":[1, -2.5e+3, true, null, {}]}, "a": "last"} )");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->kind, JsonValue::Kind::kObject);
  EXPECT_EQ(value->text_of("a"), "last");
  ASSERT_NE(value->find("b"), nullptr);
  EXPECT_EQ(value->find("b")->text_of("c"), "two");
  EXPECT_EQ(value->find("b")->text_of("d"), std::nullopt);
  EXPECT_EQ(value->find("e"), nullptr);
}

TEST(Json, ReadsEscapes) {
  const auto value = parse_json(R"("\"\\\/\b\f\n\r\t\u0041\u00e9\u20AC\ud83d\ude00")");
  ASSERT_TRUE(value);
  EXPECT_EQ(value->text, "\"\\/\b\f\n\r\tA\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80");
}

TEST(Json, RefusesInvalidJson) {
  for (const char* text : {"",
                           " ",
                           "{",
                           "}",
                           "{\"a\"}",
                           "{\"a\":}",
                           "{\"a\":\"b\",}",
                           "{a:\"b\"}",
                           "[1,]",
                           "[1",
                           "\"a",
                           "\"\n\"",
                           "\"\\x\"",
                           "\"\\u12\"",
                           "\"\\u0000\"",
                           "\"\\ud83d\"",
                           "\"\\ud83d\\u0041\"",
                           "\"\\ude00\"",
                           "01",
                           "1.",
                           "-",
                           "1e",
                           ".5",
                           "tru",
                           "nul",
                           "{} {}",
                           "\"a\" b",
                           "[[[[[[[[[[]]]]]]]]]]"})
    EXPECT_FALSE(parse_json(text)) << text;
}

TEST(Json, RefusesNumbersThatJsonbRefuses) {
  for (const char* number : {"1e131071", "9.9e131071", "0.001e131074", "10e131070", "1e-16383", "1.5e-16382",
                             "0e131072", "-0e1073741822", "0.0e1073741822"})
    EXPECT_TRUE(parse_json(number)) << number;
  for (const char* number :
       {"1e131072", "10e131071", "0.001e131075", "1795E953600", "1e-16384", "1.5e-16383", "0e-16384", "0e1073741823",
        "0e-1073741823", "1e99999999999999999999", "1e-99999999999999999999"})
    EXPECT_FALSE(parse_json(number)) << number;
}

TEST(Json, WritesWhatItReads) {
  const std::string text = "it's \"a\" \\ \x01\n\x7F \xC3\xA9";
  const auto value = parse_json(json_text(text));
  ASSERT_TRUE(value);
  EXPECT_EQ(value->text, text);
}

}  // namespace
}  // namespace wee5::core
