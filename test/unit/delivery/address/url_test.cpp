#include "wee5_cron/delivery/address/url.hpp"

#include <curl/curl.h>
#include <gtest/gtest.h>

#include <ostream>
#include <string>

#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/delivery/address/proxy.hpp"

namespace wee5::delivery {
namespace {

using core::Error;
using core::ErrorKind;

// Where libcurl would really go.
std::string host_of(const std::string& url) {
  CURLU* parsed = curl_url();
  char* host = nullptr;
  std::string result = "(no URL)";
  if (curl_url_set(parsed, CURLUPART_URL, url.c_str(), CURLU_PATH_AS_IS) == CURLUE_OK &&
      curl_url_get(parsed, CURLUPART_HOST, &host, 0) == CURLUE_OK) {
    result = host;
  }
  curl_free(host);
  curl_url_cleanup(parsed);
  return result;
}

Error refusal_of(const std::string& api_url, const std::string& allow_plain_http = "off") {
  try {
    parse_api_url(api_url, allow_plain_http);
  } catch (const Error& error) {
    return error;
  }
  ADD_FAILURE() << "accepted: " << api_url;
  return {ErrorKind::kInvalidValue, "", ""};
}

struct Accepted {
  const char* text;
  const char* host;
  const char* port;
  const char* normalised;
};

std::ostream& operator<<(std::ostream& out, const Accepted& accepted) { return out << accepted.text; }

class AcceptedApiUrls : public testing::TestWithParam<Accepted> {};

TEST_P(AcceptedApiUrls, AreParsed) {
  const ApiUrl url = parse_api_url(GetParam().text, "off");
  EXPECT_EQ(url.host, GetParam().host);
  EXPECT_EQ(url.port, GetParam().port);
  EXPECT_EQ(url.text, GetParam().normalised);
}

INSTANTIATE_TEST_SUITE_P(
    Table, AcceptedApiUrls,
    testing::Values(
        Accepted{"https://app.example.com", "app.example.com", "443", "https://app.example.com"},
        Accepted{"https://app.example.com/", "app.example.com", "443", "https://app.example.com"},
        Accepted{"HTTPS://app.example.com", "app.example.com", "443", "https://app.example.com"},
        Accepted{"https://app.example.com:8443", "app.example.com", "8443", "https://app.example.com:8443"},
        Accepted{"https://app.example.com/base", "app.example.com", "443", "https://app.example.com/base"},
        Accepted{"https://app.example.com/a/b/", "app.example.com", "443", "https://app.example.com/a/b"},
        Accepted{"https://app.example.com/a@b", "app.example.com", "443", "https://app.example.com/a@b"},
        Accepted{"https://app.example.com/\xC3\xBC", "app.example.com", "443", "https://app.example.com/%C3%BC"},
        Accepted{"https://xn--mller-kva.example", "xn--mller-kva.example", "443", "https://xn--mller-kva.example"},
        Accepted{"https://[2001:db8::1]:8443", "[2001:db8::1]", "8443", "https://[2001:db8::1]:8443"},
        Accepted{"http://[::1]:3000", "[::1]", "3000", "http://[::1]:3000"},
        Accepted{"http://[fe80::1%25eth0]", "[fe80::1]", "80", "http://[fe80::1%25eth0]"},
        Accepted{"http://localhost:3000", "localhost", "3000", "http://localhost:3000"},
        Accepted{"http://127.0.0.1:3000/", "127.0.0.1", "3000", "http://127.0.0.1:3000"},
        Accepted{"http://10.1.2.3", "10.1.2.3", "80", "http://10.1.2.3"},
        Accepted{"http://web:3000", "web", "3000", "http://web:3000"},
        Accepted{"http://app.internal", "app.internal", "80", "http://app.internal"},
        Accepted{"http://host.docker.internal:3000", "host.docker.internal", "3000",
                 "http://host.docker.internal:3000"}));

struct Refused {
  const char* text;
  const char* words;
};

std::ostream& operator<<(std::ostream& out, const Refused& refused) { return out << refused.text; }

class RefusedApiUrls : public testing::TestWithParam<Refused> {};

TEST_P(RefusedApiUrls, SayWhyAndWhatToDo) {
  const Error error = refusal_of(GetParam().text);
  EXPECT_EQ(error.kind(), ErrorKind::kNotReady);
  EXPECT_NE(error.message().find("app.settings.api_url"), std::string::npos) << error.message();
  EXPECT_NE(error.message().find(GetParam().words), std::string::npos) << error.message();
  EXPECT_FALSE(error.hint().empty());
}

INSTANTIATE_TEST_SUITE_P(
    Table, RefusedApiUrls,
    testing::Values(
        Refused{"", "is empty"}, Refused{"app.example.com", "does not begin with https://"},
        Refused{"/app", "does not begin with https://"}, Refused{"ftp://app.example.com", "neither"},
        Refused{"file:///etc/passwd", "neither"}, Refused{"javascript://app", "neither"},
        Refused{"https://", "names no host"}, Refused{"https:///app.example.com", "names no host"},
        Refused{"https://:443", "names no host"}, Refused{"https:/app.example.com", "does not begin"},
        Refused{"https://user@app.example.com", "user information"},
        Refused{"https://user:pass@app.example.com", "user information"},
        Refused{"https://@app.example.com", "user information"}, Refused{"https://app.example.com?x=1", "query"},
        Refused{"https://app.example.com/?", "query"}, Refused{"https://app.example.com/#top", "fragment"},
        Refused{"https://app.example.com#", "fragment"}, Refused{"https://app example.com", "blank or a control"},
        Refused{"https://app.example.com\r\nX: y", "blank or a control"},
        Refused{"https://app.example.com\\evil.example", "backslash"},
        Refused{"https://evil.example\\@app.example.com", "backslash"}, Refused{"https://app.example.com:0", "port"},
        Refused{"https://app.example.com:65536", "libcurl"}, Refused{"https://app.example.com:80x", "libcurl"},
        Refused{"https://[::1", "libcurl"}, Refused{"https://[evil.example]", "libcurl"},
        Refused{"https://app,example.com", "libcurl"}, Refused{"https://%65vil.example", "percent"},
        Refused{"https://m\xC3\xBCller.example", "not ASCII"},
        Refused{"https://app.example.com\xE3\x80\x82"
                "evil.example",
                "not ASCII"},
        Refused{"https://app.example.com/a//b", "prefix"}, Refused{"https://app.example.com/a/../b", "prefix"},
        Refused{"https://app.example.com/%2e%2e/b", "prefix"}, Refused{"https://app.example.com/%zz", "prefix"},
        Refused{"http://app.example.com", "clear text"}, Refused{"http://8.8.8.8", "clear text"},
        Refused{"http://[2001:db8::1]", "clear text"}, Refused{"http://localhost.evil.example", "clear text"},
        Refused{"http://134744072", "clear text"}));

TEST(ApiUrl, PlainHttpToAPublicHostIsTheUsersChoice) {
  EXPECT_EQ(parse_api_url("http://app.example.com", "on").text, "http://app.example.com");
}

TEST(ApiUrl, NoErrorRepeatsAPasswordOrAToken) {
  for (const char* text : {"https://user:hunter2@app.example.com", "user:hunter2@app.example.com",
                           "https:/user:hunter2@app.example.com", "ftp://user:hunter2@app.example.com",
                           "https://user:hun@hunter2@app.example.com/", "https://app.example.com/?token=hunter2",
                           "https://app.example.com/#hunter2", "https://user:hunter2@app.example.com?x#y",
                           "https://user:?hunter2@app.example.com", "https://user:#hunter2@app.example.com"}) {
    const Error error = refusal_of(text);
    EXPECT_EQ((error.message() + error.hint()).find("hunter2"), std::string::npos) << error.message();
  }
  EXPECT_NE(refusal_of("https://user:hunter2@app.example.com").message().find("app.example.com"), std::string::npos);
}

TEST(ApiUrl, ANulDoesNotHideTheRest) {
  EXPECT_EQ(refusal_of(std::string("https://app.example.com\0.evil.example", 37)).kind(), ErrorKind::kNotReady);
}

struct Joined {
  const char* api_url;
  const char* path;
  const char* url;
};

std::ostream& operator<<(std::ostream& out, const Joined& joined) {
  return out << joined.api_url << " + " << joined.path;
}

class JoinedUrls : public testing::TestWithParam<Joined> {};

TEST_P(JoinedUrls, StayOnTheHost) {
  const ApiUrl api_url = parse_api_url(GetParam().api_url, "off");
  const std::string url = join_url(api_url, GetParam().path);
  EXPECT_EQ(url, GetParam().url);
  EXPECT_EQ(host_of(url), api_url.host);
}

INSTANTIATE_TEST_SUITE_P(
    Table, JoinedUrls,
    testing::Values(Joined{"https://app.example.com", "/api/cron/x", "https://app.example.com/api/cron/x"},
                    Joined{"https://app.example.com/", "/x", "https://app.example.com/x"},
                    Joined{"https://app.example.com:443", "/x", "https://app.example.com:443/x"},
                    Joined{"https://app.example.com/base/", "/x?y=1&z=%20", "https://app.example.com/base/x?y=1&z=%20"},
                    Joined{"https://[2001:db8::1]:8443", "/x", "https://[2001:db8::1]:8443/x"},
                    Joined{"http://[fe80::1%25eth0]", "/x", "http://[fe80::1%25eth0]/x"},
                    Joined{"https://app.example.com", "/\xC3\xBC", "https://app.example.com/%C3%BC"},
                    Joined{"https://app.example.com", "/@evil.example/x", "https://app.example.com/@evil.example/x"},
                    // What core::check_endpoint_path() refuses. Even so it must stay on the host.
                    Joined{"https://app.example.com", "//evil.example/x", "https://app.example.com//evil.example/x"},
                    Joined{"https://app.example.com", "/\\evil.example/x", "https://app.example.com/%5Cevil.example/x"},
                    Joined{"https://app.example.com", "/..%2fevil", "https://app.example.com/..%2fevil"},
                    Joined{"https://app.example.com/base", "/../x", "https://app.example.com/base/../x"},
                    Joined{"https://app.example.com", "/x\r\nHost: evil.example",
                           "https://app.example.com/x%0D%0AHost:%20evil.example"},
                    Joined{"https://app.example.com", "/x#@evil.example", "https://app.example.com/x%23@evil.example"},
                    Joined{"https://app.example.com", "?x", "https://app.example.com?x"}));

class PathAttacks : public testing::TestWithParam<const char*> {};

TEST_P(PathAttacks, AreRefusedIfTheyLeaveTheHost) {
  for (const char* text :
       {"https://app.example.com", "https://app.example.com:84", "http://[::1]", "http://10.0.0.1"}) {
    const ApiUrl api_url = parse_api_url(text, "off");
    try {
      const std::string url = join_url(api_url, GetParam());
      EXPECT_EQ(host_of(url), api_url.host) << url;
      ADD_FAILURE() << "accepted: " << url;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue);
      EXPECT_NE(error.message().find("invalid endpoint path"), std::string::npos);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Table, PathAttacks,
                         testing::Values("@evil.example/x", ":pass@evil.example/x", ".evil.example/x", "evil.example",
                                         ":8443/x", "43/x", "%2eevil.example/x", "\\@evil.example/x", ".", "1"));

TEST(JoinUrl, APathThatOnlyLengthensThePrefixStaysUnderTheHost) {
  const ApiUrl api_url = parse_api_url("https://app.example.com/base", "off");
  EXPECT_EQ(host_of(join_url(api_url, "@evil.example/x")), "app.example.com");
  EXPECT_EQ(host_of(join_url(api_url, ".evil.example/x")), "app.example.com");
}

TEST(UrlJoiner, FollowsEachChangeOfTheApiUrl) {
  UrlJoiner joiner;
  EXPECT_EQ(joiner.join("https://one.example/a/", "off", "/x"), "https://one.example/a/x");
  EXPECT_EQ(joiner.join("https://one.example/a/", "off", "/y"), "https://one.example/a/y");
  EXPECT_EQ(joiner.join("https://two.example", "off", "/x"), "https://two.example/x");
  EXPECT_EQ(joiner.join("https://one.example/a/", "off", "/x"), "https://one.example/a/x");
}

TEST(UrlJoiner, FollowsEachChangeOfThePath) {
  UrlJoiner joiner;
  for (int i = 0; i < 2; ++i) EXPECT_EQ(joiner.join("https://one.example", "off", "/x"), "https://one.example/x");
  EXPECT_EQ(joiner.join("https://two.example", "off", "/x"), "https://two.example/x");
  EXPECT_EQ(joiner.join("https://two.example", "off", "/x?y"), "https://two.example/x?y");
  EXPECT_EQ(joiner.join("https://two.example", "off", "/x"), "https://two.example/x");
}

TEST(UrlJoiner, ErrorsAndHintsSpeakOfTheTarget) {
  const auto refusal = [](const char* api_url, const char* path) {
    try {
      UrlJoiner().join(api_url, "off", path, "billing");
    } catch (const Error& error) {
      return error;
    }
    return Error(ErrorKind::kInvalidValue, "accepted", "");
  };
  const std::string set_origin =
      "Set its origin: SELECT wee5_cron.configure_target('billing', 'https://app.example.com', 'the secret that this "
      "app expects').";
  const Error scheme = refusal("ftp://x", "/x");
  EXPECT_EQ(scheme.kind(), ErrorKind::kNotReady);
  EXPECT_EQ(scheme.message(), "target \"billing\": api_url \"ftp://x\" is neither https:// nor http://");
  EXPECT_EQ(scheme.hint(), set_origin);
  EXPECT_EQ(refusal("https://a@x", "/x").hint(),
            "Leave it out: the target is called with its own secret. " + set_origin);
  EXPECT_TRUE(
      refusal("http://app.example.com", "/x")
          .hint()
          .starts_with("Use https: SELECT wee5_cron.configure_target('billing', 'https://...', 'the secret that "
                       "this app expects'). If the network"));
  EXPECT_TRUE(refusal("https://x", "@y/x").hint().ends_with("come from the api_url of target \"billing\"."));
}

TEST(UrlJoiner, RefusesAnInvalidUrlEachTime) {
  UrlJoiner joiner;
  EXPECT_EQ(joiner.join("http://one.example", "on", "/x"), "http://one.example/x");
  for (int i = 0; i < 2; ++i) EXPECT_THROW(joiner.join("http://one.example", "off", "/x"), Error);
  for (int i = 0; i < 2; ++i) EXPECT_THROW(joiner.join("ftp://one.example", "on", "/x"), Error);
  for (int i = 0; i < 2; ++i) EXPECT_THROW(joiner.join("", "on", "/x"), Error);
  EXPECT_EQ(joiner.join("http://one.example", "on", "/x"), "http://one.example/x");
  for (int i = 0; i < 2; ++i) EXPECT_THROW(joiner.join("http://one.example", "on", "@two.example/x"), Error);
  EXPECT_EQ(joiner.join("http://one.example", "on", "/x"), "http://one.example/x");
}

TEST(ParseProxy, ReadsAHostAndAPort) {
  EXPECT_FALSE(parse_proxy("").is_set());
  EXPECT_FALSE(parse_proxy("  ").is_set());
  EXPECT_EQ(parse_proxy("proxy").shown(), "proxy:3128");
  EXPECT_EQ(parse_proxy(" http://proxy.example:8080/ ").url(), "http://proxy.example:8080");
  EXPECT_EQ(parse_proxy("HTTP://[2001:db8::1]:80").shown(), "[2001:db8::1]:80");
  const Proxy proxy = parse_proxy("http://user:p%40ss%3Aword@proxy:1");
  EXPECT_EQ(proxy.user, "user");
  EXPECT_EQ(proxy.password, "p@ss:word");
  EXPECT_EQ(proxy.shown(), "proxy:1");
  EXPECT_EQ(proxy.url(), "http://proxy:1");
}

TEST(ParseProxy, RefusesAnythingElseWithoutShowingIt) {
  for (const char* text : {"https://canary:1", "socks5://canary:1", "ftp://canary", "http://", "http://u:canary@",
                           "http://h/canary", "http://h?canary", "http://h#canary", "http://u:canary@h:0",
                           "http://u:canary@h:99999", "can ary", "h\r\ncanary",
                           "h\xC3\xA4"
                           "canary"}) {
    try {
      parse_proxy(text);
      ADD_FAILURE() << "accepted: " << text;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kInvalidValue);
      EXPECT_EQ((error.message() + error.hint()).find("canary"), std::string::npos) << error.message();
    }
  }
}

TEST(Webhook, KeepsTheWholeAddressAndShowsOnlyTheOrigin) {
  const Webhook slack = parse_webhook(" https://hooks.slack.com/services/T0/B0/x-y_z?wait=1&a=%20 ", "off");
  EXPECT_EQ(slack.url, "https://hooks.slack.com/services/T0/B0/x-y_z?wait=1&a=%20");
  EXPECT_EQ(slack.origin, "https://hooks.slack.com");
  EXPECT_EQ(slack.secret, "services/T0/B0/x-y_z?wait=1&a=%20");
  EXPECT_EQ(parse_webhook("http://127.0.0.1:8080", "off").url, "http://127.0.0.1:8080/");
  // Too short to be a secret: replacing it everywhere would garble other texts.
  EXPECT_EQ(parse_webhook("https://alerts.example.com/x", "off").secret, "");
}

TEST(Webhook, IsRefusedByTheRulesOfTheApiUrlWithoutBeingShown) {
  for (const char* const url : {"", "hooks.example.com/canary", "ftp://h.example/canary", "http://h.example/canary",
                                "https:///canary", "https://u:canary@h.example/x", "https://h.example/can ary",
                                "https://h.example/canary#x", "https://h.example?canary", "https://h.example\\canary/",
                                "https://h.example/\xC3\xA4/canary", "https://h.example:0/canary", "canary"}) {
    try {
      parse_webhook(url, "off");
      ADD_FAILURE() << "accepted: " << url;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNotReady);
      EXPECT_TRUE(error.message().starts_with("wee5_cron.alert_url ")) << error.message();
      EXPECT_EQ((error.message() + error.hint()).find("canary"), std::string::npos) << error.message() << error.hint();
      EXPECT_EQ((error.message() + error.hint()).find("api_url"), std::string::npos) << error.message() << error.hint();
    }
  }
  EXPECT_EQ(parse_webhook("http://h.example/x", "on").origin, "http://h.example");
}

TEST(SameOrigin, ComparesSchemeHostAndPort) {
  EXPECT_TRUE(same_origin("https://app.example.com", "https://APP.example.com:443/base/"));
  EXPECT_FALSE(same_origin("https://app.example.com", "http://app.example.com"));
  EXPECT_FALSE(same_origin("https://app.example.com", "https://app.example.com:8443"));
  EXPECT_FALSE(same_origin("https://app.example.com", "https://www.app.example.com"));
  EXPECT_FALSE(same_origin("https://app.example.com", "app.example.com"));
  EXPECT_FALSE(same_origin("", ""));
}

}  // namespace
}  // namespace wee5::delivery
