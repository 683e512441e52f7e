#include "wee5_cron/core/request/previous_secret.hpp"

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdio>

#include "wee5_cron/core/text/ascii.hpp"
#include "wee5_cron/core/text/json.hpp"

namespace wee5::core {
namespace {

constexpr std::int64_t kUsPerSecond = 1'000'000;

// Reads a moment from its beginning. Once something does not fit, nothing fits any more.
class MomentReader {
 public:
  explicit MomentReader(std::string_view text) : text_(text) {}

  bool complete() const noexcept { return good_ && text_.empty(); }

  MomentReader& one_of(std::string_view bytes) noexcept {
    good_ = good_ && next_is(bytes);
    if (good_) text_.remove_prefix(1);
    return *this;
  }

  MomentReader& number(int& value, std::size_t digits, int least, int most) noexcept {
    value = 0;
    for (std::size_t i = 0; i < digits && good_; ++i) {
      good_ = !text_.empty() && is_digit(text_.front());
      if (!good_) return *this;
      value = 10 * value + (text_.front() - '0');
      text_.remove_prefix(1);
    }
    good_ = good_ && value >= least && value <= most;
    return *this;
  }

  // Microseconds behind a point, if there is one.
  MomentReader& fraction(std::int64_t& us) noexcept {
    if (!good_ || !next_is(".")) return *this;
    text_.remove_prefix(1);
    std::int64_t unit = kUsPerSecond / 10;
    good_ = !text_.empty() && is_digit(text_.front());
    for (; good_ && !text_.empty() && is_digit(text_.front()); unit /= 10) {
      us += unit * (text_.front() - '0');
      good_ = unit > 0;
      text_.remove_prefix(1);
    }
    return *this;
  }

  // Z, or how far the time is ahead of UTC.
  MomentReader& zone(int& ahead_s) noexcept {
    if (!good_ || next_is("Zz")) return one_of("Zz");
    const int sign = next_is("-") ? -1 : 1;
    int hours = 0;
    int minutes = 0;
    one_of("+-").number(hours, 2, 0, 14);
    if (good_ && next_is(":")) {
      one_of(":").number(minutes, 2, 0, 59);
    } else if (good_ && !text_.empty()) {
      number(minutes, 2, 0, 59);
    }
    ahead_s = sign * (hours * 60 + minutes) * 60;
    return *this;
  }

 private:
  bool next_is(std::string_view bytes) const noexcept {
    return !text_.empty() && bytes.find(text_.front()) != std::string_view::npos;
  }

  std::string_view text_;
  bool good_ = true;
};

// Such as "2026-11-30 03:00:00", with `separator` between day and time.
std::string moment_text(std::int64_t us, char separator) {
  const auto moment = std::chrono::floor<std::chrono::seconds>(
      std::chrono::sys_time<std::chrono::microseconds>(std::chrono::microseconds(us)));
  const std::chrono::sys_days day = std::chrono::floor<std::chrono::days>(moment);
  const std::chrono::year_month_day date{day};
  const std::chrono::hh_mm_ss time{moment - day};
  char text[32];
  (void)snprintf(text, sizeof(text), "%04d-%02u-%02u%c%02d:%02d:%02d", static_cast<int>(date.year()) % 10'000,
                 static_cast<unsigned>(date.month()), static_cast<unsigned>(date.day()), separator,
                 static_cast<int>(time.hours().count()), static_cast<int>(time.minutes().count()),
                 static_cast<int>(time.seconds().count()));
  return text;
}

}  // namespace

std::optional<std::int64_t> parse_rfc3339_us(std::string_view text) noexcept {
  int year = 0;
  int month = 0;
  int day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
  int ahead_s = 0;
  std::int64_t fraction_us = 0;
  MomentReader reader(text);
  reader.number(year, 4, 1, 9999).one_of("-").number(month, 2, 1, 12).one_of("-").number(day, 2, 1, 31).one_of("Tt ");
  reader.number(hour, 2, 0, 23).one_of(":").number(minute, 2, 0, 59).one_of(":").number(second, 2, 0, 59);
  if (!reader.fraction(fraction_us).zone(ahead_s).complete()) return std::nullopt;
  const std::chrono::year_month_day date{std::chrono::year(year), std::chrono::month(static_cast<unsigned>(month)),
                                         std::chrono::day(static_cast<unsigned>(day))};
  if (!date.ok()) return std::nullopt;
  const std::int64_t days = std::chrono::sys_days(date).time_since_epoch().count();
  return (((days * 24 + hour) * 60 + minute) * 60 + second - ahead_s) * kUsPerSecond + fraction_us;
}

std::optional<PreviousSecret> read_previous_secret(std::string_view document) {
  const std::optional<JsonValue> value = parse_json(document);
  return value ? read_previous_secret(*value) : std::nullopt;
}

std::optional<PreviousSecret> read_previous_secret(const JsonValue& value) {
  if (value.kind != JsonValue::Kind::kObject) return std::nullopt;
  const auto secret = value.text_of("secret");
  const auto api_url = value.text_of("api_url");
  const auto until_us = parse_rfc3339_us(value.text_of("until").value_or(""));
  if (!secret || !api_url || !until_us) return std::nullopt;
  const std::string_view trimmed = without_blanks_around(*secret);
  const bool fits_in_header =
      std::none_of(trimmed.begin(), trimmed.end(), [](char byte) { return is_control(byte) || !is_ascii(byte); });
  if (trimmed.empty() || !fits_in_header) return std::nullopt;
  return PreviousSecret{std::string(trimmed), std::string(without_blanks_around(*api_url)), *until_us};
}

std::string secret_of_document(std::string_view document) {
  const std::optional<JsonValue> value = parse_json(document);
  if (!value) return "";
  return std::string(without_blanks_around(value->text_of("secret").value_or("")));
}

std::string write_previous_secret(const PreviousSecret& previous) {
  return "{\"secret\": " + json_text(previous.secret) + ", \"api_url\": " + json_text(previous.api_url) +
         ", \"until\": " + json_text(moment_text(previous.until_us, 'T') + "Z") + "}";
}

RotationStep rotation_step(std::string_view replaced, std::string_view chosen, bool same_origin, bool keep) noexcept {
  if (!keep || replaced.empty() || !same_origin) return RotationStep::kRemove;
  return replaced == chosen ? RotationStep::kLeave : RotationStep::kReplace;
}

std::string previous_secret_hint(std::int64_t until_us) {
  return "The app answered 401 to the present secret, and accepted the previous one, which is used "
         "until " +
         moment_text(until_us, ' ') +
         " UTC. Before then, set CRON_SECRET in the app to the new secret. On Vercel, a changed variable takes effect "
         "with the next deployment.";
}

}  // namespace wee5::core
