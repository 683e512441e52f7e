#include "wee5_cron/core/outcome/cache_signs.hpp"

#include <gtest/gtest.h>

#include <initializer_list>
#include <string>
#include <string_view>

#include "wee5_cron/core/outcome/outcome.hpp"

namespace wee5::core {
namespace {

std::string signs_of(std::initializer_list<std::string_view> lines) {
  CacheSigns signs;
  for (const std::string_view line : lines) signs.read_line(line);
  EXPECT_EQ(signs.any(), !signs.text().empty());
  return signs.text();
}

TEST(CacheSigns, VercelSaysHitOrStale) {
  EXPECT_EQ(signs_of({"x-vercel-cache: HIT"}), "x-vercel-cache: HIT");
  EXPECT_EQ(signs_of({"x-vercel-cache: STALE"}), "x-vercel-cache: STALE");
  for (const char* other :
       {"MISS", "BYPASS", "PRERENDER", "REVALIDATED", "", "HITS", "HI", "HIT, MISS", "STALE HIT", "1"})
    EXPECT_EQ(signs_of({std::string("x-vercel-cache: ") + other}), "") << other;
}

TEST(CacheSigns, NextSaysHit) {
  EXPECT_EQ(signs_of({"x-nextjs-cache: HIT"}), "x-nextjs-cache: HIT");
  for (const char* other : {"MISS", "STALE", "", "hit!"})
    EXPECT_EQ(signs_of({std::string("x-nextjs-cache: ") + other}), "") << other;
}

TEST(CacheSigns, AnAgeAboveZeroCounts) {
  for (const char* age : {"1", "37", "007", "2147483648", "99999999999999999999999999999999", "5, 0", "5,", "\t 5 \t"})
    EXPECT_EQ(signs_of({std::string("Age: ") + age}), "Age above 0") << age;
  for (const char* age : {"0", "000", "", " ", "-1", "+5", "1.5", "5s", "1 0", "0x1", "0, 5", ", 5", "five", "\x01"})
    EXPECT_EQ(signs_of({std::string("Age: ") + age}), "") << age;
  EXPECT_EQ(signs_of({std::string_view("Age: 5\0", 7)}), "");
}

TEST(CacheSigns, SeveralAgesAreOneListAndItsFirstMemberCounts) {
  EXPECT_EQ(signs_of({"Age: 5", "Age: 0"}), "Age above 0");
  EXPECT_EQ(signs_of({"Age: 0", "Age: 5"}), "");
  EXPECT_EQ(signs_of({"Age: x", "Age: 5"}), "");
}

TEST(CacheSigns, CaseAndBlanksDoNotMatter) {
  EXPECT_EQ(signs_of({"X-VERCEL-CACHE:hit"}), "x-vercel-cache: HIT");
  EXPECT_EQ(signs_of({"X-Vercel-Cache: \t Stale \t\r\n"}), "x-vercel-cache: STALE");
  EXPECT_EQ(signs_of({"X-NextJS-Cache:  Hit\n"}), "x-nextjs-cache: HIT");
  EXPECT_EQ(signs_of({"aGE:1\r\n"}), "Age above 0");
}

TEST(CacheSigns, OtherLinesSayNothing) {
  for (const std::string_view line :
       {"", "\r\n", ":", ": HIT", "HTTP/1.1 200 OK", "age 5", "Age : 5", " Age: 5", "Agee: 5", "ag: 5", "X-Age: 5",
        "x-vercel-cache", "x-vercel-cach: HIT", "x-vercel-cache2: HIT", "x-cache: HIT", "cache-control: max-age=5"})
    EXPECT_EQ(signs_of({line}), "") << line;
}

TEST(CacheSigns, EachSignIsNamedOnce) {
  EXPECT_EQ(signs_of({"age: 9", "x-nextjs-cache: HIT", "x-vercel-cache: STALE", "x-vercel-cache: HIT",
                      "x-vercel-cache: HIT", "x-vercel-cache: MISS"}),
            "x-vercel-cache: HIT, x-vercel-cache: STALE, x-nextjs-cache: HIT, Age above 0");
}

Explanation explained(int status, std::string_view line, const char* content_type = "application/json",
                      Reason reason = Reason::kNone) {
  Observation observation;
  observation.reason = reason;
  observation.http_status = status;
  observation.endpoint_path = "/api/cron/x";
  observation.url = "https://app.example.com/api/cron/x";
  observation.content_type = content_type;
  observation.cache_signs.read_line(line);
  return explain(observation);
}

TEST(CachedAnswers, AreSuccessesWithAHint) {
  for (const int status : {200, 204, 299}) {
    const Explanation explanation = explained(status, "x-vercel-cache: HIT");
    EXPECT_TRUE(explanation.succeeded);
    EXPECT_EQ(explanation.reason, Reason::kNone);
    EXPECT_EQ(explanation.error, "");
    EXPECT_TRUE(explanation.hint.starts_with(
        "The answer came from a cache (x-vercel-cache: HIT), so the route probably did not run"))
        << explanation.hint;
    EXPECT_NE(explanation.hint.find("export const dynamic = 'force-dynamic'"), std::string::npos);
    EXPECT_NE(explanation.hint.find("Cache-Control: no-store"), std::string::npos);
  }
  EXPECT_EQ(explained(200, "x-vercel-cache: MISS").hint, "");
}

TEST(CachedAnswers, FailuresKeepTheirOwnHint) {
  for (const int status : {199, 300, 304, 308, 401, 404, 500, 503})
    EXPECT_EQ(explained(status, "Age: 5").hint, explained(status, "").hint) << status;
  EXPECT_EQ(explained(200, "Age: 5", "", Reason::kTimeout).hint, explained(200, "", "", Reason::kTimeout).hint);
}

TEST(CachedAnswers, ACachedPageHasBothHints) {
  const std::string hint = explained(200, "Age: 5", "text/html").hint;
  EXPECT_EQ(hint, explained(200, "Age: 5").hint + " " + explained(200, "", "text/html").hint);
}

TEST(Html, IsRecognizedByTheContentType) {
  for (const char* type : {"text/html", "TEXT/HTML; charset=utf-8", "application/xhtml+xml", "Application/XHTML"})
    EXPECT_TRUE(is_html(type)) << type;
  for (const char* type : {"", "text/htm", "text/plain", "application/json", " text/html", "x-text/html"})
    EXPECT_FALSE(is_html(type)) << type;
}

}  // namespace
}  // namespace wee5::core
