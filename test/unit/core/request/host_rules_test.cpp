#include "wee5_cron/core/request/host_rules.hpp"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <string_view>

#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {
namespace {

// test/plain_http_hosts.txt holds the cases that the extension shares with scripts/generate-cron-config.ts.
TEST(IsPrivateHost, AgreesWithTheSharedCases) {
  std::ifstream cases(WEE5_TEST_DIRECTORY "/plain_http_hosts.txt");
  ASSERT_TRUE(cases);
  int count = 0;
  for (std::string verdict, host; cases >> verdict; ++count) {
    std::getline(cases >> std::ws, host);
    if (verdict == "#") continue;
    EXPECT_EQ(is_private_host(host), verdict == "private") << host;
    EXPECT_EQ(is_private_host(host), verdict != "public") << host;
  }
  EXPECT_GT(count, 70);
}

// What stands in no URL that the script accepts.
TEST(IsPrivateHost, DecidesOddHosts) {
  for (const char* host : {"gr\xC3\xBCn.local", "::1", "0x"}) EXPECT_TRUE(is_private_host(host)) << host;
  // IDNA turns U+3002 and U+FF0E into dots, so that these are not single labels.
  for (const char* host : {"", ".", ".svc", ".local",
                           "evil\xE3\x80\x82"
                           "example",
                           "evil\xEF\xBC\x8E"
                           "example",
                           "evil%2eexample", "evil.example/x.local", "99999999999999999999", "[]", "[localhost]",
                           "[127.0.0.1]", "[::1", "[v1.x]"}) {
    EXPECT_FALSE(is_private_host(host)) << host;
  }
}

TEST(IsLoopbackHost, IsLocalhostOrALoopbackAddress) {
  for (const char* host :
       {"localhost", "LOCALHOST.", "127.0.0.1", "127.255.255.254", "127.1", "2130706433", "0x7f000001", "0177.0.0.1",
        "127.0.0.0x1", "::1", "[::1]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]"}) {
    EXPECT_TRUE(is_loopback_host(host)) << host;
  }
  for (const char* host :
       {"", "app", "app.localhost", "localhost.evil.example", "126.255.255.255", "128.0.0.1", "10.0.0.1", "0.0.0.0",
        "[::]", "[::2]", "[fe80::1]", "[::ffff:10.0.0.1]", "[localhost]", "[127.0.0.1]"}) {
    EXPECT_FALSE(is_loopback_host(host)) << host;
  }
}

Error refusal_of_rule(std::string_view rule) {
  try {
    read_plain_http_rule(rule);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::kNullValue, "accepted", ""};
}

TEST(PlainHttpRule, IsABooleanAsPostgresReadsIt) {
  for (const char* word : {"on", "ON", "true", "t", "tru", "yes", "y", "1", " on "}) {
    EXPECT_EQ(read_plain_http_rule(word), "on") << word;
    EXPECT_TRUE(plain_http_allowed(word, "example.com")) << word;
  }
  for (const char* word : {"off", "of", "false", "f", "no", "n", "0", "", "  "}) {
    EXPECT_EQ(read_plain_http_rule(word), "off") << word;
    EXPECT_FALSE(plain_http_allowed(word, "example.com")) << word;
  }
}

TEST(PlainHttpRule, OrNamesHosts) {
  EXPECT_EQ(read_plain_http_rule(" web.prod,*.flycast ,203.0.113.7, [2001:db8::7]"),
            "web.prod, *.flycast, 203.0.113.7, [2001:db8::7]");
  constexpr std::string_view kRule = "web.prod, *.flycast, 203.0.113.7, [2001:db8::7], root.example.";
  for (const char* host : {"web.prod", "WEB.PROD.", "app.flycast", "a.b.Flycast", "203.0.113.7", "[2001:DB8::7]",
                           "root.example", "root.example."}) {
    EXPECT_TRUE(plain_http_allowed(kRule, host)) << host;
  }
  for (const char* host : {"xweb.prod", "a.web.prod", "web.prod.evil.example", "flycast", ".flycast", "xflycast",
                           "app.xflycast", "app.flycast.evil.example", "203.0.113.8", "1.203.0.113.7", "[2001:db8::8]",
                           "2001:db8::7x", "", "on", "*.flycast.example"}) {
    EXPECT_FALSE(plain_http_allowed(kRule, host)) << host;
  }
}

TEST(PlainHttpRule, AWildcardStandsForNamesAndNotForAddresses) {
  EXPECT_EQ(refusal_of_rule("*.113.7").kind(), ErrorKind::kInvalidValue);
  EXPECT_FALSE(plain_http_allowed("*.113.7", "203.0.113.7"));
  EXPECT_TRUE(plain_http_allowed("*.com", "example.com"));
}

TEST(PlainHttpRule, RefusesTextThatIsNotAHost) {
  for (const char* rule : {"*",           "*.",           "*.*",           "*.*.prod",        "web.*",
                           "*web.prod",   "w*b.prod",     "**.prod",       "http://web.prod", "web.prod:80",
                           "web.prod/x",  "web prod",     "web..prod",     ".prod",           "a@b",
                           "[web.prod]",  "[2001:db8::7", "web.prod,",     ",web.prod",       "web.prod,,a.b",
                           "web.prod, *", "web.prod, on", "off, web.prod", "w\xC3\xA9.prod"}) {
    const Error error = refusal_of_rule(rule);
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue) << rule;
    EXPECT_FALSE(error.hint().empty());
    EXPECT_FALSE(plain_http_allowed(rule, "example.com")) << rule;
  }
  EXPECT_NE(refusal_of_rule("*").message().find("every host"), std::string::npos);
  EXPECT_NE(refusal_of_rule("a.b, *").message().find("every host"), std::string::npos);
}

}  // namespace
}  // namespace wee5::core
