#include "wee5_cron/core/host_rules.hpp"

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "wee5_cron/core/error.hpp"

namespace wee5::core {
namespace {

struct Row {
  std::string_view host;
  bool is_private;
  bool is_loopback;
};

class HostRules : public testing::TestWithParam<Row> {};

TEST_P(HostRules, Decide) {
  EXPECT_EQ(is_private_host(GetParam().host), GetParam().is_private) << GetParam().host;
  EXPECT_EQ(is_loopback_host(GetParam().host), GetParam().is_loopback) << GetParam().host;
}

INSTANTIATE_TEST_SUITE_P(
    Names, HostRules,
    testing::Values(Row{"localhost", true, true}, Row{"LOCALHOST.", true, true}, Row{"app", true, false},
                    Row{"kong_1", true, false}, Row{"app.", true, false}, Row{"app.localhost", true, false},
                    Row{"a.b.INTERNAL", true, false}, Row{"host.docker.internal", true, false},
                    Row{"printer.local.", true, false},
                    Row{"gr\xC3\xBC"
                        "n.local",
                        true, false},
                    Row{"web.prod.svc", true, false}, Row{"web.prod.SVC.cluster.local.", true, false},
                    Row{"svc", true, false}, Row{"web.prod", false, false}, Row{"app.flycast", false, false},
                    Row{"web.svc.example", false, false}, Row{".svc", false, false}, Row{"websvc.xsvc", false, false},
                    Row{"example.com", false, false}, Row{"www.example.com.", false, false},
                    Row{"local.example", false, false}, Row{"internal.example", false, false},
                    Row{"notinternal.xinternal", false, false}, Row{"", false, false}, Row{".", false, false},
                    Row{".local", false, false}, Row{"localhost.evil.example", false, false},
                    // IDNA turns these into dots, so that they are not single labels.
                    Row{"evil\xE3\x80\x82"
                        "example",
                        false, false},
                    Row{"evil\xEF\xBC\x8E"
                        "example",
                        false, false},
                    Row{"evil%2eexample", false, false}, Row{"evil.example/x.local", false, false}));

INSTANTIATE_TEST_SUITE_P(
    Ipv4, HostRules,
    testing::Values(Row{"127.0.0.1", true, true}, Row{"127.255.255.254", true, true},
                    Row{"126.255.255.255", false, false}, Row{"128.0.0.1", false, false}, Row{"10.0.0.1", true, false},
                    Row{"11.0.0.1", false, false}, Row{"172.15.255.255", false, false}, Row{"172.16.0.1", true, false},
                    Row{"172.31.255.255", true, false}, Row{"172.32.0.1", false, false},
                    Row{"192.168.1.1", true, false}, Row{"192.169.0.1", false, false},
                    Row{"100.63.255.255", false, false}, Row{"100.64.0.0", true, false},
                    Row{"100.101.102.103", true, false}, Row{"100.127.255.255", true, false},
                    Row{"100.128.0.0", false, false}, Row{"169.254.169.254", true, false},
                    Row{"169.253.0.1", false, false}, Row{"8.8.8.8", false, false}, Row{"0.0.0.0", false, false},
                    Row{"10.0.0.1.", true, false},
                    // The spellings that inet_aton() takes: as names they would pass for a single label.
                    Row{"127.1", true, true}, Row{"2130706433", true, true}, Row{"0x7f000001", true, true},
                    Row{"0177.0.0.1", true, true}, Row{"134744072", false, false}, Row{"0x08080808", false, false},
                    Row{"8.8.2056", false, false}, Row{"010.0.0.1", false, false}, Row{"10.1", true, false},
                    Row{"4294967296", false, false}, Row{"99999999999999999999", false, false},
                    Row{"127.0.0.256", false, false}, Row{"1.2.3.4.5", false, false}, Row{"300.1.1.1", false, false},
                    Row{"127.0.0.0x1", true, true}, Row{"0x", true, false}, Row{"08", false, false}));

INSTANTIATE_TEST_SUITE_P(
    Ipv6, HostRules,
    testing::Values(Row{"::1", true, true}, Row{"[::1]", true, true}, Row{"[0:0:0:0:0:0:0:1]", true, true},
                    Row{"[fe80::1]", true, false}, Row{"[fe80::1%25eth0]", true, false}, Row{"[febf::1]", true, false},
                    Row{"[fec0::1]", false, false}, Row{"[fc00::1]", true, false}, Row{"[FDFF::1]", true, false},
                    Row{"[fe00::1]", false, false}, Row{"[2606:4700::1111]", false, false}, Row{"[::]", false, false},
                    Row{"[::ffff:127.0.0.1]", true, true}, Row{"[::ffff:10.0.0.1]", true, false},
                    Row{"[::ffff:100.64.0.1]", true, false}, Row{"[::ffff:8.8.8.8]", false, false},
                    Row{"[::2]", false, false}, Row{"[]", false, false}, Row{"[localhost]", false, false},
                    Row{"[127.0.0.1]", false, false}, Row{"[::1", false, false}, Row{"[v1.x]", false, false}));

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

TEST(PlainHttpRule, RefusesWhatIsNoHostAndAllowsNothingByIt) {
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
