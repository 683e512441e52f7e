#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "wee5_cron/core/outcome/outcome.hpp"

namespace wee5::core {
namespace {

bool contains(std::string_view text, std::string_view wanted) { return text.find(wanted) != std::string_view::npos; }

Explanation redirect(std::string url, std::string endpoint_path, std::string location, int status = 308) {
  Observation observation;
  observation.http_status = status;
  observation.url = std::move(url);
  observation.endpoint_path = std::move(endpoint_path);
  observation.location = std::move(location);
  return explain(observation);
}

Explanation redirect_from(std::string origin, std::string location) {
  return redirect(std::move(origin) + "/api/x", "/api/x", std::move(location));
}

constexpr std::string_view kSet = "SET app.settings.api_url";

struct Proposal {
  const char* origin;
  const char* location;
  const char* api_url;  // that the hint's SQL sets
};

class ProposedApiUrl : public testing::TestWithParam<Proposal> {};

TEST_P(ProposedApiUrl, IsTheSameHost) {
  const Explanation explanation = redirect_from(GetParam().origin, GetParam().location);
  EXPECT_EQ(explanation.reason, Reason::kRedirect);
  const std::string sql = "ALTER DATABASE ... SET app.settings.api_url = '" + std::string(GetParam().api_url) + "'";
  EXPECT_TRUE(explanation.hint.ends_with(sql)) << explanation.hint;
}

INSTANTIATE_TEST_SUITE_P(
    Table, ProposedApiUrl,
    testing::Values(
        Proposal{"https://example.com", "https://www.example.com/api/x", "https://www.example.com"},
        Proposal{"https://www.example.com", "https://example.com/api/x", "https://example.com"},
        Proposal{"https://example.com", "https://www.example.com/", "https://www.example.com"},
        Proposal{"https://example.com", "//www.example.com/api/x", "https://www.example.com"},
        Proposal{"https://Example.com", "HTTPS://WWW.example.COM/api/x", "https://www.example.com"},
        Proposal{"http://example.com", "https://example.com/api/x", "https://example.com"},
        Proposal{"http://example.com", "https://www.example.com/api/x", "https://www.example.com"},
        Proposal{"http://example.com:80", "https://example.com:443/api/x", "https://example.com"},
        Proposal{"https://a.example.com:8443", "https://www.a.example.com:8443/api/x",
                 "https://www.a.example.com:8443"},
        Proposal{"https://example.com/base", "https://www.example.com/base/api/x", "https://www.example.com/base"},
        Proposal{"https://example.com/it's", "https://www.example.com/x", "https://www.example.com/it''s"}));

class NoProposal : public testing::TestWithParam<Proposal> {};

TEST_P(NoProposal, OnlyDescribes) {
  const Explanation explanation = redirect_from(GetParam().origin, GetParam().location);
  EXPECT_EQ(explanation.reason, Reason::kRedirect);
  EXPECT_FALSE(contains(explanation.hint, kSet)) << explanation.hint;
  EXPECT_FALSE(contains(explanation.hint, "evil")) << explanation.hint;
  EXPECT_EQ((explanation.error + explanation.hint).find_first_of("\r\n\x1b"), std::string::npos);
  EXPECT_FALSE(explanation.hint.empty());
}

INSTANTIATE_TEST_SUITE_P(
    OtherPlaces, NoProposal,
    testing::Values(Proposal{"https://example.com", "https://evil.example/api/x", ""},
                    Proposal{"https://example.com", "https://www.evil.example/api/x", ""},
                    Proposal{"https://example.com", "https://wwwevil.example.com/", ""},
                    Proposal{"https://example.com", "http://www.example.com/api/x", ""},  // away from TLS
                    Proposal{"https://example.com", "http://example.com/api/x", ""},
                    Proposal{"https://example.com", "https://www.example.com:8443/api/x", ""},
                    Proposal{"https://example.com:8443", "https://www.example.com/api/x", ""},
                    Proposal{"https://com", "https://www.com/api/x", ""},
                    Proposal{"http://www.app", "http://app/x", ""},
                    Proposal{"https://example.com", "/login?evil=1", ""}, Proposal{"https://example.com", "evil", ""},
                    Proposal{"https://example.com", "ftp://www.example.com/evil", ""},
                    Proposal{"https://example.com", "javascript:evil()", ""}));

INSTANTIATE_TEST_SUITE_P(
    Injection, NoProposal,
    testing::Values(Proposal{"https://example.com", "https://www.example.com'; DROP TABLE evil; --/api/x", ""},
                    Proposal{"https://example.com", "https://www.example.com';evil", ""},
                    Proposal{"https://example.com", "https://www.example.com\\'evil/x", ""},
                    Proposal{"https://example.com", "https://www.example.com\\@evil.example/x", ""},
                    Proposal{"https://example.com", "https://www.example.com@evil.example/x", ""},
                    Proposal{"https://example.com", "https://evil@www.example.com/x", ""},
                    Proposal{"https://example.com", "https://www.example.com:443@evil.example/", ""},
                    Proposal{"https://example.com", "https://www.example.com:evil/", ""},
                    Proposal{"https://example.com", "https://www.example.com:/evil", ""},
                    Proposal{"https://example.com", "https://www.example.com:0443/evil", ""},
                    Proposal{"https://example.com", "https://www.example.com\r\nevil", ""},
                    Proposal{"https://example.com", "https://www.example.com\nevil/x", ""},
                    Proposal{"https://example.com", "https://www.example.com /evil", ""},
                    Proposal{"https://example.com", "https://www.example.com%2eevil/x", ""},
                    Proposal{"https://example.com",
                             "https://www.example.com\xE3\x80\x82"
                             "evil/x",
                             ""},
                    Proposal{"https://example.com", "https://www.example.com\x1b[31mevil/x", ""},
                    Proposal{"https://example.com", "https://www..example.com/evil", ""},
                    Proposal{"https://example.com", "https://.www.example.com/evil", ""},
                    Proposal{"https://example.com", "https://www.example.com./evil", ""},
                    Proposal{"https://example.com", "https:///evil", ""},
                    Proposal{"https://example.com", "https://", ""}, Proposal{"https://example.com", "https:evil", ""},
                    Proposal{"https://example.com", "//", ""}, Proposal{"https://[::1]", "https://[::2]/evil", ""},
                    Proposal{"", "https://www.example.com/evil", ""}));

TEST(Redirect, IsDescribedInTheError) {
  EXPECT_EQ(redirect_from("https://example.com", "https://www.example.com/api/x").error,
            "The app answered 308 Permanent Redirect to /api/x, a redirect to https://www.example.com/api/x.");
  EXPECT_EQ(redirect("https://example.com/api/x", "/api/x", "/login?token=abc#top", 302).error,
            "The app answered 302 Found to /api/x, a redirect to /login.");
  const std::string error = redirect_from("https://example.com", "https://evil/" + std::string(9000, 'x')).error;
  EXPECT_LT(error.size(), 300U);
}

TEST(Redirect, WithoutALocationSaysSo) {
  const Explanation explanation = redirect("https://example.com/api/x", "/api/x", "", 304);
  EXPECT_EQ(explanation.reason, Reason::kRedirect);
  EXPECT_EQ(explanation.error, "The app answered 304 Not Modified to /api/x.");
  EXPECT_FALSE(explanation.hint.empty());
}

TEST(Redirect, ToTheSamePathWithASlashProposesTheCallersOwnPath) {
  EXPECT_TRUE(redirect("https://example.com/api/x?a=1", "/api/x?a=1", "/api/x/?evil")
                  .hint.ends_with("with a trailing slash: SELECT invoke_cron_endpoint('/api/x/?a=1')"));
  EXPECT_TRUE(redirect("https://example.com/b/api/x/", "/api/x/", "https://example.com/b/api/x")
                  .hint.ends_with("without a trailing slash: SELECT invoke_cron_endpoint('/api/x')"));
  EXPECT_TRUE(
      contains(redirect("https://example.com/it's", "/it's", "/it's/").hint, "invoke_cron_endpoint('/it''s/')"));
}

TEST(Redirect, ToALoginPageMentionsMiddleware) {
  EXPECT_TRUE(contains(redirect_from("https://example.com", "/login").hint, "middleware"));
  EXPECT_TRUE(contains(redirect_from("https://example.com", "https://example.com/login").hint, "middleware"));
  EXPECT_TRUE(contains(redirect_from("https://example.com", "https://auth.example.net/").hint, "no other host"));
}

// Where the called URL does not end in the caller's path, the prefix of api_url is not known.
TEST(Redirect, UnknownPrefixIsNotGuessed) {
  EXPECT_FALSE(contains(redirect("https://example.com/other", "/api/x", "https://www.example.com/api/x").hint, kSet));
  EXPECT_FALSE(contains(redirect("https://example.com/other", "", "https://www.example.com/api/x").hint, kSet));
}

TEST(Redirect, EncodedPathsAreRecognized) {
  EXPECT_TRUE(
      contains(redirect("https://example.com/b/%C3%BC%20x?q=1", "/\xC3\xBC x?q=1", "https://www.example.com/").hint,
               "'https://www.example.com/b'"));
}

}  // namespace
}  // namespace wee5::core
