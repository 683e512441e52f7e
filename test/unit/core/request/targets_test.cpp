#include "wee5_cron/core/request/targets.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "wee5_cron/core/request/destination.hpp"
#include "wee5_cron/core/request/endpoint_path.hpp"

namespace wee5::core {
namespace {

constexpr std::string_view kBilling =
    R"({"billing": {"api_url": " https://billing.example.com ", "secret": "s3cret", "header": "X-Api-Key", "prefix": "",)"
    R"( "headers": {"X-Bypass": "bypass-4711", "X-Switch": "true"},)"
    R"( "previous": {"secret": "old", "api_url": "https://billing.example.com", "until": "2026-11-30T03:00:00Z"}}})";

Targets of_database(std::string_view document) {
  SettingCandidates candidates;
  candidates.database = document;
  return Targets(candidates);
}

template <class Action>
std::string message_of(Action action) {
  try {
    action();
  } catch (const Error& error) {
    return error.message();
  }
  return "(no error)";
}

TEST(SplitTarget, TakesTheNameOffThePath) {
  EXPECT_EQ(split_target("billing:/api/x?a=b:/c").target, "billing");
  EXPECT_EQ(split_target("billing:/api/x?a=b:/c").path, "/api/x?a=b:/c");
  for (const std::string_view path :
       {"/api/x", "/a:/b", "/", "", "billing", "billing:", "billing:x", "billing://x", "1st:/x", "http:/x", "HTTPS:/x",
        "https://x/y", ":/x", "a b:/x", "a.b:/x", "a:b:/x"}) {
    EXPECT_EQ(split_target(path).target, "") << path;
    EXPECT_EQ(split_target(path).path, path);
  }
  EXPECT_TRUE(is_target_name("a-B_9"));
  EXPECT_TRUE(is_target_name(std::string(63, 'a')));
  EXPECT_FALSE(is_target_name(std::string(64, 'a')));
}

TEST(SplitTarget, TheRulesOfAPathHoldBehindIt) {
  EXPECT_NO_THROW(check_endpoint_path("billing:/api/x?next=https://y"));
  for (const std::string_view path :
       {"app:/x", "billing:x", "billing://evil", "billing:/a/../b", "billing:/a#b", "billing:/a\nb", "billing:/a//b",
        "billing:@evil/x", "http:/x", "billing:/%2e%2e/x"}) {
    EXPECT_THROW(check_endpoint_path(path), Error) << path;
  }
}

TEST(Targets, AreReadFromTheDocument) {
  const auto found = of_database(kBilling).find("billing");
  ASSERT_TRUE(found);
  const Target& target = found->first;
  EXPECT_EQ(found->second, SettingSource::kDatabase);
  EXPECT_EQ(target.api_url, "https://billing.example.com");
  EXPECT_EQ(target.secret, "s3cret");
  EXPECT_EQ(target.headers.header, "X-Api-Key");
  EXPECT_EQ(target.headers.prefix, "");
  ASSERT_EQ(target.headers.further.size(), 2U);
  EXPECT_EQ(target.headers.further[0].value, "bypass-4711");
  ASSERT_TRUE(target.previous);
  EXPECT_EQ(target.previous->secret, "old");
  EXPECT_FALSE(of_database(kBilling).find("other"));
}

TEST(Targets, TheStrongestDocumentThatHasTheNameDecidesAllOfIt) {
  SettingCandidates candidates;
  candidates.role = R"({"other": {"api_url": "https://other", "secret": "x"}})";
  candidates.database = R"({"billing": {"api_url": "https://here", "secret": "x"}})";
  candidates.vault = kBilling;
  const Targets targets(candidates);
  const auto found = targets.find("billing");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->first.api_url, "https://here");
  EXPECT_EQ(found->first.headers.header, "Authorization");
  EXPECT_FALSE(found->first.previous);
  EXPECT_EQ(targets.names(), (std::vector<std::string>{"other", "billing"}));
}

TEST(Targets, ADocumentThatCannotBeReadDecidesToo) {
  SettingCandidates candidates;
  candidates.role = "billing";
  candidates.database = kBilling;
  const Targets targets(candidates);
  EXPECT_EQ(message_of([&] { (void)targets.find("billing"); }),
            "app.settings.cron_targets (role) is not a JSON object of targets");
  EXPECT_EQ(targets.unreadable(), std::vector<SettingSource>{SettingSource::kRole});
  EXPECT_TRUE(targets.headers_of_app().empty());
}

TEST(Targets, AWrongOneShowsNoValue) {
  for (const std::string_view entry :
       {R"("hush")", R"({"secret": "hush"})", R"({"api_url": "https://x", "secret": " "})",
        R"({"api_url": "https://x", "secret": "hu\u00e4sh"})",
        R"({"api_url": "https://x", "secret": "hush", "header": "Host"})",
        R"({"api_url": "https://x", "secret": "hush", "headers": {"X-A": 1}})",
        R"({"api_url": "https://x", "secret": "hush", "headers": {"X-A": "hush\n"}})",
        R"({"api_url": "https://x", "secret": "hush", "headers": {"X-A": "hush", "x-a": "hush"}})",
        R"({"api_url": "https://x", "secret": "hush", "headers": {"AUTHORIZATION": "hush"}})",
        R"({"api_url": "https://x", "secret": "hush", "headers": ["hush"]})"}) {
    const std::string document = R"({"billing": )" + std::string(entry) + "}";
    const std::string message = message_of([&] { (void)of_database(document).find("billing"); });
    EXPECT_NE(message, "(no error)") << entry;
    EXPECT_EQ(message.find("hush"), std::string::npos) << message;
  }
}

TEST(Targets, TheLastOfTwoMembersOfANameCounts) {
  const auto found = of_database(R"({"billing": 7, "billing": {"api_url": "https://x", "secret": "a", "secret": "b",)"
                                 R"( "headers": {"X-A": 1, "X-A": "c"}}})")
                         .find("billing");
  ASSERT_TRUE(found);
  EXPECT_EQ(found->first.secret, "b");
  ASSERT_EQ(found->first.headers.further.size(), 1U);
  EXPECT_EQ(found->first.headers.further[0].value, "c");
}

TEST(Targets, ANameThatNoPathCanHaveIsWrong) {
  for (const std::string_view name : {"1st", "https", "a b", ""}) {
    const std::string document = "{\"" + std::string(name) + R"(": {"api_url": "https://x", "secret": "hush"}})";
    EXPECT_EQ(message_of([&] { (void)of_database(document).find(name); }),
              "invalid target name \"" + std::string(name) + "\"");
  }
}

TEST(Targets, AShortHeaderIsASecretUnlessItIsASwitch) {
  const std::string document =
      R"({"app": {"headers": {"X-Pin": "4711", "X-A": " TRUE ", "X-B": "off", "X-C": "1", "X-D": "2", "X-E": ""}}})";
  std::vector<std::string> secrets = of_database(document).secrets();
  std::sort(secrets.begin(), secrets.end());
  EXPECT_EQ(secrets, (std::vector<std::string>{"2", "4711"}));
  EXPECT_EQ(short_secret_headers(of_database(document).find("app")->first), (std::vector<std::string>{"X-Pin", "X-D"}));
}

TEST(Targets, SecretsOfARequestAreAmongThoseThatAreKnown) {
  const std::string document = R"({"billing": {"api_url": "https://x", "secret": " s3cret ",)"
                               R"( "headers": {"X-Pin": " 4711", "X-A": "TRUE ", "X-E": " "}}})";
  const Target target = of_database(document).find("billing")->first;
  std::vector<std::string> secrets = secrets_of_request(target.secret, target.headers.further);
  EXPECT_EQ(secrets, (std::vector<std::string>{"s3cret", "4711"}));
  EXPECT_EQ(secrets, of_database(document).secrets());
  EXPECT_TRUE(secrets_of_request(" ", {}).empty());
}

TEST(Targets, ADocumentKeepsItsOtherTargets) {
  Target target;
  target.api_url = "https://new.example.com";
  target.secret = "a \"quoted\" one";
  const std::string both = document_with_target(kBilling, "new", target);
  EXPECT_EQ(of_database(both).find("new")->first.secret, target.secret);
  EXPECT_EQ(of_database(both).find("billing")->first.previous->secret, "old");
  EXPECT_EQ(document_without_target(document_without_target(both, "billing"), "new"), "");
  EXPECT_EQ(of_database(document_with_target(both, "billing", target)).find("billing")->first.secret, target.secret);
  EXPECT_THROW((void)document_with_target("[]", "new", target), Error);
}

TEST(Targets, EverySecretOfEverySourceIsKnown) {
  SettingCandidates candidates;
  candidates.all = R"({"billing": {"api_url": "https://here", "secret": "another"}})";
  candidates.vault = kBilling;
  std::vector<std::string> secrets = Targets(candidates).secrets();
  std::sort(secrets.begin(), secrets.end());
  EXPECT_EQ(secrets, (std::vector<std::string>{"another", "bypass-4711", "old", "s3cret"}));
}

TEST(Destinations, AreTheAppOrATarget) {
  AppSettings settings;
  settings.api_url.database = "https://app.example.com";
  settings.secret.database = "of-the-app";
  settings.targets.database =
      R"({"app": {"headers": {"X-Bypass": "bypass-0815"}}, "billing": {"api_url": "https://b", "secret": "of-billing"}})";
  const Destinations destinations(settings);
  const Destination app = destinations.find("/x");
  EXPECT_EQ(app.api_url + " " + app.secret + " " + app.path, "https://app.example.com of-the-app /x");
  ASSERT_EQ(app.headers.further.size(), 1U);
  const Destination billing = destinations.find("billing:/x?y");
  EXPECT_EQ(billing.api_url + " " + billing.secret + " " + billing.path, "https://b of-billing /x?y");
  EXPECT_TRUE(billing.headers.further.empty()) << "nothing of the app's goes there";
  EXPECT_THROW((void)destinations.find("other:/x"), MissingSetting);
  EXPECT_EQ(destinations.secrets().size(), 3U);
}

TEST(Destinations, OfTheSessionAloneAreNotKnownToTheWorker) {
  AppSettings settings;
  settings.api_url.database = "https://app.example.com";
  settings.secret.database = "of-the-app";
  settings.targets.session = kBilling;
  EXPECT_STREQ(only_in_session(settings, "billing:/x"), "app.settings.cron_targets");
  EXPECT_EQ(only_in_session(settings, "/x"), nullptr);
  settings.targets.database = kBilling;
  EXPECT_EQ(only_in_session(settings, "billing:/x"), nullptr);
  settings.secret.session = "another";
  EXPECT_STREQ(only_in_session(settings, "/x"), "app.settings.cron_secret");
}

TEST(RequestHeaders, OfATargetReplaceTheCallers) {
  SecretHeaders secret{"X-Api-Key", "Key ", {{"User-Agent", "of the target"}, {"X-Bypass", "b"}}};
  const auto headers =
      request_headers("s", {}, {{"x-api-key", "forged"}, {"X-BYPASS", "forged"}, {"X-Mine", "1"}}, secret);
  std::string all;
  for (const Header& header : headers) all += header.name + "=" + header.value + ";";
  EXPECT_TRUE(all.starts_with("X-Api-Key=Key s;User-Agent=of the target;X-Bypass=b;Cache-Control")) << all;
  EXPECT_TRUE(all.ends_with("X-Mine=1;")) << all;
  EXPECT_EQ(all.find("forged"), std::string::npos) << all;
  EXPECT_EQ(all.find("Authorization"), std::string::npos) << all;
  const auto lines = headers_of_lines(header_lines(secret.further));
  ASSERT_EQ(lines.size(), 2U);
  EXPECT_EQ(lines[1].name + "=" + lines[1].value, "X-Bypass=b");
}

}  // namespace
}  // namespace wee5::core
