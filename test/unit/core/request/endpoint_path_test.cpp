#include "wee5_cron/core/request/endpoint_path.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {
namespace {

using namespace std::string_view_literals;

Error refusal(std::string_view path) {
  try {
    check_endpoint_path(path);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::kNullValue, "accepted", ""};
}

struct Attack {
  std::string_view path;
  std::string_view rule;  // as the message names it
};

class RefusedPath : public testing::TestWithParam<Attack> {};

TEST_P(RefusedPath, NamesTheRuleAndWhatToDo) {
  const Error error = refusal(GetParam().path);
  EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue) << GetParam().path;
  EXPECT_NE(error.message().find(GetParam().rule), std::string::npos) << error.message();
  EXPECT_TRUE(error.message().starts_with("invalid endpoint path \"")) << error.message();
  EXPECT_FALSE(error.hint().empty());
}

INSTANTIATE_TEST_SUITE_P(
    AnotherHost, RefusedPath,
    testing::Values(Attack{"@evil.example/x"sv, "does not start with a slash"},
                    Attack{".evil.example/x"sv, "does not start with a slash"},
                    Attack{":8080/x"sv, "does not start with a slash"}, Attack{"evil"sv, "does not start with a slash"},
                    Attack{"?x"sv, "does not start with a slash"}, Attack{" /x"sv, "does not start with a slash"},
                    Attack{"%2fevil"sv, "does not start with a slash"},
                    Attack{"\xEF\xBC\x8Fx"sv, "does not start with a slash"},  // U+FF0F
                    Attack{"https://evil.example/x"sv, "whole URL"}, Attack{"HTTP://evil.example/x"sv, "whole URL"},
                    Attack{"//evil.example/x"sv, "two slashes"}, Attack{"///"sv, "two slashes"},
                    Attack{"/a//b"sv, "two slashes"}, Attack{"/a//?next=x"sv, "two slashes"},
                    Attack{"//?next=https://x"sv, "two slashes"}, Attack{"/\\evil.example"sv, "backslash"},
                    Attack{"/a\\b?c"sv, "backslash"}));

INSTANTIATE_TEST_SUITE_P(DotSegments, RefusedPath,
                         testing::Values(Attack{"/.."sv, "segment"}, Attack{"/."sv, "segment"},
                                         Attack{"/../x"sv, "segment"}, Attack{"/a/../b"sv, "segment"},
                                         Attack{"/a/./b"sv, "segment"}, Attack{"/..%2f"sv, "segment"},
                                         Attack{"/..%2Fx"sv, "segment"}, Attack{"/..%5cx"sv, "segment"},
                                         Attack{"/a%5C..%5Cb"sv, "segment"}, Attack{"/%2e%2e/x"sv, "segment"},
                                         Attack{"/%2E./x"sv, "segment"}, Attack{"/.%2e"sv, "segment"},
                                         Attack{"/%2e"sv, "segment"}, Attack{"/a%2f%2e%2E%2fb"sv, "segment"},
                                         Attack{"/..?x=1"sv, "segment"}, Attack{"/a/..?/b"sv, "segment"}));

INSTANTIATE_TEST_SUITE_P(Bytes, RefusedPath,
                         testing::Values(Attack{""sv, "empty"}, Attack{"/a\r\nX: y"sv, "control"},
                                         Attack{"/a\n"sv, "control"}, Attack{"/a\0b"sv, "control"},
                                         Attack{"/a\tb"sv, "control"}, Attack{"/a\x7f"sv, "control"},
                                         Attack{"/a?b=\x01"sv, "control"}, Attack{"/a#b"sv, "'#'"},
                                         Attack{"/#"sv, "'#'"}, Attack{"/a?b#c"sv, "'#'"},
                                         Attack{"/%"sv, "hexadecimal"}, Attack{"/%2"sv, "hexadecimal"},
                                         Attack{"/%zz"sv, "hexadecimal"}, Attack{"/%%20"sv, "hexadecimal"},
                                         Attack{"/a?discount=100%"sv, "hexadecimal"}, Attack{"/% 1"sv, "hexadecimal"}));

class AcceptedPath : public testing::TestWithParam<std::string_view> {};

TEST_P(AcceptedPath, IsAccepted) { EXPECT_NO_THROW(check_endpoint_path(GetParam())) << GetParam(); }

INSTANTIATE_TEST_SUITE_P(Table, AcceptedPath,
                         testing::Values("/", "/api/cron/poll-activities", "/api/cron?x=1&y=2", "/a?x=../..", "/a?./",
                                         "/a?b=%2e%2e", "/a?next=https://x", "/a?//", "/a?b=//evil.example/x",
                                         "/a?b?//", "/a?b=\\", "/a?\\evil.example", "/...", "/..a", "/a..",
                                         "/.well-known/x", "/%2e%2e%2e", "/a@evil", "/@evil.example/x", "/:80", "/a b",
                                         "/gr\xC3\xBC\xC3\x9F"
                                         "e",
                                         "/%20", "/a%25b", "/%2f", "/a;b=c,d", "/[slug]", "/a?b[]=1", "/a'b\"c",
                                         "/%252e%252e"));

TEST(EndpointPath, EveryControlByteIsRefused) {
  for (int byte = 0; byte < 256; ++byte) {
    const std::string path = std::string("/a") + static_cast<char>(byte);
    const bool control = byte < 0x20 || byte == 0x7F;
    const bool other = byte == '\\' || byte == '#' || byte == '%';
    EXPECT_EQ(refusal(path).message() == "accepted", !control && !other) << byte;
  }
}

TEST(EndpointPath, EndsAt2048BytesOfTheGivenText) {
  EXPECT_NO_THROW(check_endpoint_path("/" + std::string(2047, 'a')));
  const Error error = refusal("/" + std::string(2048, 'a'));
  EXPECT_NE(error.message().find("2049 bytes long, more than 2048"), std::string::npos) << error.message();
  EXPECT_LT(error.message().size(), 250U);
  // Encoded it is three times as long; the text that the caller gave is what counts.
  std::string wide = "/";
  while (wide.size() + 2 <= kMaxEndpointPathBytes) wide += "\xC3\xBC";
  EXPECT_NO_THROW(check_endpoint_path(wide));
}

TEST(EndpointPath, MessageShowsThePath) {
  EXPECT_EQ(refusal("/a\r\nb"sv).message(), "invalid endpoint path \"/a\\x0D\\x0Ab\": it holds a control character");
  EXPECT_EQ(refusal("/a\0b"sv).message(), "invalid endpoint path \"/a\\x00b\": it holds a control character");
  EXPECT_NE(refusal("x\xE2\x80\xAEy"sv).message().find("\\u202E"), std::string::npos);
  EXPECT_NE(refusal("/100%").hint().find("%25"), std::string::npos);
  EXPECT_NE(refusal("https://a.example/x").hint().find("app.settings.api_url"), std::string::npos);
}

TEST(EndpointPath, EncodesCharactersThatAUrlCannotContain) {
  EXPECT_EQ(encode_endpoint_path("/api/cron/poll-activities?x=1&y=a,b"), "/api/cron/poll-activities?x=1&y=a,b");
  EXPECT_EQ(encode_endpoint_path("/gr\xC3\xBC\xC3\x9F"
                                 "e x"),
            "/gr%C3%BC%C3%9Fe%20x");
  EXPECT_EQ(encode_endpoint_path("/\"<>^`{|}[]"), "/%22%3C%3E%5E%60%7B%7C%7D%5B%5D");
  EXPECT_EQ(encode_endpoint_path("/%2f%C3%bc~-._!$&'()*+,;=:@"), "/%2f%C3%bc~-._!$&'()*+,;=:@");
  EXPECT_EQ(encode_endpoint_path("/\xFF"), "/%FF");
  EXPECT_EQ(encode_endpoint_path("/a?next=https://x/\\y"), "/a?next=https://x/%5Cy");
}

TEST(EndpointPath, RouteIsThePathWithoutItsQuery) {
  EXPECT_EQ(route_of("/a/b"), "/a/b");
  EXPECT_EQ(route_of("/a?x?y"), "/a");
  EXPECT_EQ(route_of("/?"), "/");
  EXPECT_EQ(route_of(""), "");
}

}  // namespace
}  // namespace wee5::core
