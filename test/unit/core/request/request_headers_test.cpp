#include "wee5_cron/core/request/request_headers.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>

#include "wee5_cron/core/request/version.hpp"
#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {
namespace {

using namespace std::string_view_literals;

Error refusal(std::string_view name, std::string_view value) {
  try {
    check_custom_header(name, value);
  } catch (const Error& error) {
    return error;
  }
  return {ErrorKind::kNullValue, "accepted", ""};
}

std::string value_of(const std::vector<Header>& headers, std::string_view name) {
  for (const Header& header : headers) {
    if (header.name == name) return header.value;
  }
  return "(not there)";
}

std::string job_header(std::string job_name) {
  RequestIdentity identity;
  identity.job_name = std::move(job_name);
  return value_of(request_headers("s", identity, {}), "X-Wee5-Cron-Job");
}

TEST(Method, IsReadInAnyCase) {
  EXPECT_EQ(parse_method("GET"), Method::kGet);
  EXPECT_EQ(parse_method("post"), Method::kPost);
  EXPECT_EQ(parse_method("Put"), Method::kPut);
  EXPECT_EQ(parse_method("PATCH"), Method::kPatch);
  EXPECT_EQ(parse_method("delete"), Method::kDelete);
  EXPECT_EQ(parse_method("hEAD"), Method::kHead);
  for (const Method method :
       {Method::kGet, Method::kPost, Method::kPut, Method::kPatch, Method::kDelete, Method::kHead}) {
    EXPECT_EQ(parse_method(method_name(method)), method);
  }
}

TEST(Method, RefusesOthersByName) {
  for (const std::string_view text :
       {""sv, "GE"sv, "GET "sv, "OPTIONS"sv, "TRACE"sv, "GET\0"sv, "GET / HTTP/1.1\r\n"sv}) {
    try {
      parse_method(text);
      ADD_FAILURE() << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue);
      EXPECT_NE(error.hint().find("PATCH"), std::string::npos);
      EXPECT_EQ(error.message().find('\r'), std::string::npos);
    }
  }
}

TEST(Method, SaysWhetherItMayHaveABody) {
  EXPECT_FALSE(takes_body(Method::kGet));
  EXPECT_FALSE(takes_body(Method::kHead));
  EXPECT_TRUE(takes_body(Method::kDelete));
  EXPECT_FALSE(needs_body(Method::kDelete));
  for (const Method method : {Method::kPost, Method::kPut, Method::kPatch}) {
    EXPECT_TRUE(takes_body(method));
    EXPECT_TRUE(needs_body(method));
  }
  EXPECT_FALSE(needs_body(Method::kGet));
  EXPECT_FALSE(needs_body(Method::kHead));
}

TEST(CustomHeader, AcceptsTokensAndOrdinaryValues) {
  EXPECT_NO_THROW(check_custom_header("X-Request-Source", "wee5"));
  EXPECT_NO_THROW(check_custom_header("traceparent", ""));
  EXPECT_NO_THROW(check_custom_header("!#$%&'*+-.^_`|~09azAZ", "a: b; c=\"d\"\t"));
  EXPECT_NO_THROW(check_custom_header("X-Name",
                                      "gr\xC3\xBC\xC3\x9F"
                                      "e"));
  EXPECT_NO_THROW(check_custom_header("Accept", "*/*"));
  EXPECT_NO_THROW(check_custom_header("X-Wee5", "x"));
  EXPECT_NO_THROW(check_custom_header("User-Agent", "vercel-cron/1.0"));
  EXPECT_NO_THROW(check_custom_header("Proxying", "x"));
  EXPECT_NO_THROW(check_custom_header("Trailers", "x"));
}

TEST(CustomHeader, RefusesNamesThatAreNotTokens) {
  for (const std::string_view name :
       {""sv, "a b"sv, "a:"sv, "a\r\nb"sv, "a\0"sv, " a"sv, "a\t"sv, "\xC3\xBC"sv, "(a)"sv, "a,b"sv, "a/b"sv, "a\"b"sv,
        "[a]"sv, "{a}"sv, "a;"sv, "a=b"sv, "a@b"sv, "a\\b"sv}) {
    EXPECT_EQ(refusal(name, "x").kind(), ErrorKind::kInvalidValue) << name;
    EXPECT_EQ(refusal(name, "x").message().find('\n'), std::string::npos);
  }
}

TEST(CustomHeader, RefusesHeadersOfTheTransferAndOursInAnyCase) {
  for (const std::string_view name : {"Authorization",
                                      "AUTHORIZATION",
                                      "host",
                                      "Content-Length",
                                      "transfer-encoding",
                                      "Connection",
                                      "Content-Type",
                                      "Expect",
                                      "TE",
                                      "te",
                                      "Trailer",
                                      "UPGRADE",
                                      "Proxy-Authorization",
                                      "proxy-connection",
                                      "Proxy-Anything",
                                      "Cache-Control",
                                      "idempotency-KEY",
                                      "X-Wee5-Cron-Invocation",
                                      "x-wee5-cron-attempt",
                                      "X-WEE5-CRON-JOB",
                                      "X-Wee5-Cron-Scheduled-At",
                                      "X-Wee5-Cron-Timeout-Ms",
                                      "X-Wee5-Cron-Anything",
                                      "x-vercel-cron-schedule"}) {
    const Error error = refusal(name, "value-of-it");
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue) << name;
    EXPECT_NE(error.message().find(name), std::string::npos) << error.message();
    EXPECT_EQ((error.message() + error.hint()).find("value-of-it"), std::string::npos);
  }
}

TEST(CustomHeader, RefusesValuesThatWouldSplitTheRequest) {
  for (const std::string_view value : {"a\rb"sv, "a\nb"sv, "a\r\nHost: evil"sv, "hidden-value\0"sv, "\n"sv}) {
    const Error error = refusal("X-A", value);
    EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue);
    EXPECT_NE(error.message().find("\"X-A\""), std::string::npos) << error.message();
    EXPECT_EQ(error.message().find("hidden-value"), std::string::npos);
  }
}

TEST(CustomHeader, TheErrorDoesNotShowTheValueOfALineGivenAsName) {
  const Error error = refusal("Authorization: Bearer topsecret", "");
  EXPECT_EQ((error.message() + error.hint()).find("topsecret"), std::string::npos) << error.message();
}

TEST(RequestHeaders, AreOursInOrderThenTheCallers) {
  RequestIdentity identity;
  identity.invocation_id = 42;
  identity.attempt = 3;
  identity.idempotency_key = "0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f";
  identity.job_name = "poll-activities";
  identity.scheduled_at = "2026-11-23T10:30:00Z";
  identity.has_body = true;
  identity.timeout_ms = 60'000;
  const std::vector<Header> headers =
      request_headers("s3cret", identity, {{"x-vercel-cron-schedule", "*/30 * * * *"}, {"X-Mine", "1"}});
  const std::vector<Header> expected = {{"Authorization", "Bearer s3cret"},
                                        {"Content-Type", "application/json"},
                                        {"User-Agent", std::string("wee5_cron/") + kVersion},
                                        {"Cache-Control", "no-cache"},
                                        {"Idempotency-Key", "0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f"},
                                        {"X-Wee5-Cron-Invocation", "42"},
                                        {"X-Wee5-Cron-Attempt", "3"},
                                        {"X-Wee5-Cron-Timeout-Ms", "60000"},
                                        {"X-Wee5-Cron-Job", "poll-activities"},
                                        {"X-Wee5-Cron-Scheduled-At", "2026-11-23T10:30:00Z"},
                                        {"traceparent", "00-011988f0ecb0009a0730de34d184c005-00000000002a0003-01"},
                                        {"x-vercel-cron-schedule", "*/30 * * * *"},
                                        {"X-Mine", "1"}};
  ASSERT_EQ(headers.size(), expected.size());
  for (std::size_t i = 0; i < headers.size(); ++i) {
    EXPECT_EQ(headers[i].name, expected[i].name);
    EXPECT_EQ(headers[i].value, expected[i].value);
  }
}

TEST(RequestHeaders, OfACallMadeByHandNameNoJob) {
  const std::vector<Header> headers = request_headers("s", {}, {});
  EXPECT_EQ(value_of(headers, "X-Wee5-Cron-Job"), "(not there)");
  EXPECT_EQ(value_of(headers, "X-Wee5-Cron-Scheduled-At"), "(not there)");
  EXPECT_EQ(value_of(headers, "Idempotency-Key"), "(not there)");
}

TEST(RequestHeaders, HaveAContentTypeOnlyWithABody) {
  RequestIdentity identity;
  EXPECT_EQ(value_of(request_headers("s", identity, {}), "Content-Type"), "(not there)");
  identity.has_body = true;
  EXPECT_EQ(value_of(request_headers("s", identity, {}), "Content-Type"), "application/json");
}

TEST(RequestHeaders, ACallersUserAgentReplacesOurs) {
  for (const char* name : {"User-Agent", "user-agent", "USER-AGENT"}) {
    const std::vector<Header> headers = request_headers("s", {}, {{name, "vercel-cron/1.0"}});
    EXPECT_EQ(value_of(headers, name), "vercel-cron/1.0");
    EXPECT_EQ(std::count_if(headers.begin(), headers.end(),
                            [](const Header& header) { return header.name.size() == 10 && header.name[4] == '-'; }),
              1);
  }
}

TEST(RequestHeaders, TraceIsOnUnsampledOrOffAndACallersOwnWins) {
  RequestIdentity identity;
  identity.invocation_id = 1;
  EXPECT_EQ(value_of(request_headers("s", identity, {}), "traceparent"), "(not there)") << "without a key";
  identity.idempotency_key = "0f3b5a52-6a3e-4c5e-8e5e-1a2b3c4d5e6f";
  EXPECT_TRUE(value_of(request_headers("s", identity, {}), "traceparent").ends_with("-0000000000010001-01"));
  identity.trace = Trace::kUnsampled;
  EXPECT_TRUE(value_of(request_headers("s", identity, {}), "traceparent").ends_with("-0000000000010001-00"));
  EXPECT_EQ(value_of(request_headers("s", identity, {{"TraceParent", "mine"}}), "traceparent"), "(not there)");
  identity.trace = Trace::kOff;
  EXPECT_EQ(value_of(request_headers("s", identity, {}), "traceparent"), "(not there)");
  EXPECT_EQ(value_of(request_headers("s", identity, {{"traceparent", "mine"}}), "traceparent"), "mine");
}

TEST(RequestHeaders, JobNamesSurviveAnyContent) {
  EXPECT_EQ(job_header("daily report (EU)"), "daily report (EU)");
  EXPECT_EQ(job_header("t\xC3\xA4glich"), "t%C3%A4glich");
  EXPECT_EQ(job_header("a\r\nHost: evil"), "a%0D%0AHost: evil");
  EXPECT_EQ(job_header("50% off"), "50%25 off");
  EXPECT_EQ(job_header(" a "), "%20a%20");
  EXPECT_EQ(job_header(" "), "%20");
  EXPECT_EQ(job_header("tab\there\x7f"), "tab%09here%7F");
}

}  // namespace
}  // namespace wee5::core
