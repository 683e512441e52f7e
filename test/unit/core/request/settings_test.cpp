#include "wee5_cron/core/request/settings.hpp"

#include <gtest/gtest.h>

#include <array>
#include <string>
#include <string_view>

#include "wee5_cron/core/text/error.hpp"

namespace wee5::core {
namespace {

using namespace std::string_view_literals;
using Slot = std::optional<std::string_view> SettingCandidates::*;

constexpr std::array<std::pair<Slot, SettingSource>, 6> kStrongestFirst = {{
    {&SettingCandidates::session, SettingSource::kSession},
    {&SettingCandidates::role_in_database, SettingSource::kRoleInDatabase},
    {&SettingCandidates::role, SettingSource::kRole},
    {&SettingCandidates::database, SettingSource::kDatabase},
    {&SettingCandidates::all, SettingSource::kAll},
    {&SettingCandidates::vault, SettingSource::kVault},
}};

// Every combination of the six sources being set, blank or absent: 729 of them.
TEST(Settings, TheFirstSourceThatIsNotBlankApplies) {
  constexpr std::array<std::string_view, 6> kValues = {"s", "rd", "r", "d", "a", "v"};
  for (int combination = 0; combination < 729; ++combination) {
    SettingCandidates candidates;
    SettingSource expected = SettingSource::kNone;
    std::string_view expected_value;
    int left = combination;
    for (std::size_t i = 0; i < kStrongestFirst.size(); ++i, left /= 3) {
      if (left % 3 == 0) continue;
      candidates.*kStrongestFirst[i].first = left % 3 == 1 ? kValues[i] : " \t\r\n"sv;
      if (left % 3 == 1 && expected == SettingSource::kNone) {
        expected = kStrongestFirst[i].second;
        expected_value = kValues[i];
      }
    }
    const Setting setting = choose_setting(candidates);
    EXPECT_EQ(setting.source, expected) << combination;
    EXPECT_EQ(setting.value, expected_value) << combination;
  }
}

TEST(Settings, ABlankValueIsUnsetAndSurroundingBlanksAreRemoved) {
  SettingCandidates candidates;
  candidates.session = "";
  candidates.database = "\n https://app.example \t";
  EXPECT_EQ(choose_setting(candidates).value, "https://app.example");
  EXPECT_EQ(choose_setting(candidates).source, SettingSource::kDatabase);
  candidates.database = "a b";
  EXPECT_EQ(choose_setting(candidates).value, "a b");
}

TEST(Settings, SourcesHaveNames) {
  EXPECT_STREQ(setting_source_name(SettingSource::kSession), "session");
  EXPECT_STREQ(setting_source_name(SettingSource::kRoleInDatabase), "role in database");
  EXPECT_STREQ(setting_source_name(SettingSource::kVault), "vault");
  EXPECT_STREQ(setting_source_name(SettingSource::kNone), "none");
}

TEST(Secret, AcceptsOrdinarySecrets) {
  for (const std::string_view secret : {"s3cret"sv, "a b"sv, "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"sv}) {
    EXPECT_NO_THROW(check_secret(secret)) << secret;
  }
}

TEST(Secret, RefusesWhatAHeaderCannotCarryWithoutShowingIt) {
  for (const std::string_view secret : {"top5ecret\n"sv, "top5ecret\r\nX: y"sv, "top5ecret\0"sv, "top5ecret\t"sv,
                                        "top5ecret\x7f"sv, "top5ecret\xC3\xBC"sv}) {
    try {
      check_secret(secret);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::kNotReady);
      EXPECT_NE(error.message().find("app.settings.cron_secret"), std::string::npos);
      EXPECT_EQ((error.message() + error.hint()).find("top5"), std::string::npos);
      EXPECT_FALSE(error.hint().empty());
    }
  }
}

}  // namespace
TEST(MissingSetting, SaysHowToSetIt) {
  const Error error = missing_setting("app.settings.api_url", choose_setting({}));
  EXPECT_EQ(error.kind(), ErrorKind::kNotReady);
  EXPECT_EQ(error.message(), "app.settings.api_url is not set");
  EXPECT_NE(error.hint().find("SELECT wee5_cron.configure("), std::string::npos);
}

TEST(MissingSetting, SaysWhyVaultCouldNotBeRead) {
  SettingCandidates candidates;
  candidates.database = " ";
  candidates.vault_trouble = "permission denied";
  candidates.vault_hint = "GRANT it";
  const Error error = missing_setting("app.settings.cron_secret", choose_setting(candidates));
  EXPECT_EQ(error.message(), "app.settings.cron_secret is not set, and Vault cannot be read: permission denied");
  EXPECT_EQ(error.hint(), "GRANT it");
}

TEST(MissingSetting, IgnoresVaultsErrorIfThereIsAValue) {
  SettingCandidates candidates;
  candidates.database = "value";
  candidates.vault_trouble = "permission denied";
  EXPECT_EQ(choose_setting(candidates).value, "value");
  EXPECT_EQ(choose_setting(candidates).vault_trouble, "");
}

TEST(Settings, ReturnsTheValueOfASingleSource) {
  SettingCandidates candidates;
  candidates.role = " r ";
  candidates.vault = "v";
  EXPECT_EQ(value_at(candidates, SettingSource::kRole), "r");
  EXPECT_EQ(value_at(candidates, SettingSource::kVault), "v");
  EXPECT_EQ(value_at(candidates, SettingSource::kDatabase), "");
  EXPECT_EQ(value_at(candidates, SettingSource::kNone), "");
}

}  // namespace wee5::core
