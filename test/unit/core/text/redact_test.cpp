#include "wee5_cron/core/text/redact.hpp"

#include <gtest/gtest.h>

#include <string>

namespace wee5::core {
namespace {

TEST(Redact, RedactsTheSecretPlainAndPercentEncoded) {
  EXPECT_EQ(redact("a s3cr=t b s3cr=t", "s3cr=t"), "a [secret] b [secret]");
  EXPECT_EQ(redact("?t=s3cr%3Dt&u=s3cr%3dt", "s3cr=t"), "?t=[secret]&u=[secret]");
  EXPECT_EQ(redact("%73%33%63%72%3D%74", "s3cr=t"), "[secret]");
  EXPECT_EQ(redact("a+b a%20b a b", "a b"), "[secret] [secret] [secret]");
  EXPECT_EQ(redact("ssecret", "secret"), "s[secret]");
  EXPECT_EQ(redact("secretsecret", "secret"), "[secret][secret]");
  EXPECT_EQ(redact("secre", "secret"), "secre");
  EXPECT_EQ(redact("100% of it %", "secret"), "100% of it %");
}

TEST(Redact, RedactsTheSecretEscapedAsInJson) {
  EXPECT_EQ(redact(R"({"t":"a\/b\"c"})", R"(a/b"c)"), R"({"t":"[secret]"})");
  EXPECT_EQ(redact(R"(a\u002Bb)", "a+b"), "[secret]");
}

TEST(Redact, RedactsAnEscapeThatBeginsLikeItself) {
  EXPECT_EQ(redact("a%25b, a%b", "a%b"), "[secret], [secret]");
  EXPECT_EQ(redact("100%25 100%", "100%"), "[secret] [secret]");
  EXPECT_EQ(redact(R"("a\\b" a\b)", R"(a\b)"), R"("[secret]" [secret])");
  EXPECT_EQ(redact(R"(\u0075ser \\u0075 user)", "user"), R"([secret] \\u0075 [secret])");
  EXPECT_EQ(redact("a%25b", "a%25b"), "[secret]");
}

TEST(Redact, RedactsTheSecretInBase64) {
  EXPECT_EQ(redact("dG9wLXNlY3JldA==", "top-secret"), "[secret]");
  EXPECT_EQ(redact("dG9wLXNlY3JldA", "top-secret"), "[secret]");
  EXPECT_EQ(redact("Basic dG9wLXNlY3JldA%3D%3D.", "top-secret"), "Basic [secret].");
  EXPECT_EQ(redact("dG9wLXNlY3JldDE=", "top-secret1"), "[secret]");
  EXPECT_EQ(redact("dG9wLXNlY3JldDEy", "top-secret12"), "[secret]");
  EXPECT_EQ(redact("Pj4-Pz8_", ">>>???"), "[secret]");
  EXPECT_EQ(redact("Pj4+Pz8/", ">>>???"), "[secret]");
}

// "user:top-secret" and the like: whatever stands around it, the middle goes.
TEST(Redact, RedactsTheSecretInsideALongerBase64) {
  EXPECT_EQ(redact("dTp0b3Atc2VjcmV0IQ==", "top-secret").find("b3Atc2VjcmV0"), std::string::npos);  // "u:top-secret!"
  EXPECT_EQ(redact("dXM6dG9wLXNlY3JldCE=", "top-secret").find("dG9wLXNlY3Jl"), std::string::npos);  // "us:..."
  EXPECT_EQ(redact("dXNlOnRvcC1zZWNyZXQh", "top-secret").find("RvcC1zZWNyZX"), std::string::npos);  // "use:..."
}

TEST(Redact, TheReplacementNeverSpellsTheSecretAgain) {
  // With "[secret]" the first would be "r3t[secret]", which begins with the secret.
  EXPECT_EQ(redact("r3tr3t[sec", "r3t[sec"), "r3t\xEF\xBF\xBD");
  EXPECT_EQ(redact("t]abt]abab", "t]ab"),
            "\xEF\xBF\xBD\xEF\xBF\xBD"
            "ab");
}

TEST(Redact, LeavesTextWithoutTheSecretUnchanged) {
  EXPECT_EQ(redact("anything", ""), "anything");
  EXPECT_EQ(redact("", "secret"), "");
  EXPECT_EQ(redact("the cat sat", "ab"), "the cat sat");
}

TEST(RedactAll, RedactsEachSecretTheLongestFirst) {
  EXPECT_EQ(redact_all("alpha, alpha-beta and gamma", {"alpha", "", "alpha-beta", "gamma"}),
            "[secret], [secret] and [secret]");
  EXPECT_EQ(redact_all("nothing", {}), "nothing");
  EXPECT_EQ(longest_spelling({"ab", "abcd", ""}), 4 * kLongestSpelling);
}

}  // namespace
}  // namespace wee5::core
