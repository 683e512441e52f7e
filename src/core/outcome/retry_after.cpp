// Retry-After: seconds, or a date in one of the three formats that HTTP has had.

#include <algorithm>
#include <array>
#include <chrono>
#include <limits>

#include "wee5_cron/core/outcome/retry_policy.hpp"
#include "wee5_cron/core/text/ascii.hpp"

namespace wee5::core {

namespace {

constexpr std::int64_t kUsPerSecond = 1'000'000;
constexpr std::int64_t kMostSeconds = std::int64_t{100} * 366 * 86'400;  // a century; more means never

constexpr std::array<std::string_view, 12> kMonths = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
                                                      "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
constexpr std::array<std::string_view, 7> kWeekdays = {"Sunday",   "Monday", "Tuesday", "Wednesday",
                                                       "Thursday", "Friday", "Saturday"};

struct Date {
  int year = 0;
  unsigned month = 0;  // 1..12
  unsigned day = 0;
  int hour = 0;
  int minute = 0;
  int second = 0;
};

// Reads a text from its beginning; once something does not fit, nothing fits any more.
class Reader {
 public:
  explicit Reader(std::string_view text) : text_(text) {}

  bool complete() const noexcept { return good_ && text_.empty(); }
  bool good() const noexcept { return good_; }

  Reader& literal(std::string_view wanted) noexcept {
    good_ = good_ && text_.starts_with(wanted);
    if (good_) text_.remove_prefix(wanted.size());
    return *this;
  }

  // Reads exactly `digits` digits. `blank`: the first may be a blank, as asctime() writes a day.
  Reader& number(int& value, std::size_t digits, bool blank = false) noexcept {
    good_ = good_ && text_.size() >= digits;
    if (!good_) return *this;
    value = 0;
    for (std::size_t i = 0; i < digits; ++i) {
      const char byte = text_[i];
      if (blank && i == 0 && byte == ' ') continue;
      if (byte < '0' || byte > '9') {
        good_ = false;
        return *this;
      }
      value = 10 * value + (byte - '0');
    }
    text_.remove_prefix(digits);
    return *this;
  }
  Reader& number(unsigned& value, std::size_t digits, bool blank = false) noexcept {
    int signed_value = 0;
    number(signed_value, digits, blank);
    value = static_cast<unsigned>(signed_value);
    return *this;
  }

  Reader& month(unsigned& value) noexcept {
    for (std::size_t i = 0; good_ && i < kMonths.size(); ++i) {
      if (!text_.starts_with(kMonths[i])) continue;
      value = static_cast<unsigned>(i + 1);
      return literal(kMonths[i]);
    }
    good_ = false;
    return *this;
  }

  // Its first `letters` letters, 0: all of them. Which day it is, the date says better.
  Reader& weekday(std::size_t letters) noexcept {
    for (std::size_t i = 0; good_ && i < kWeekdays.size(); ++i) {
      const std::string_view name = letters == 0 ? kWeekdays[i] : kWeekdays[i].substr(0, letters);
      if (text_.starts_with(name)) return literal(name);
    }
    good_ = false;
    return *this;
  }

  Reader& time(Date& date) noexcept {
    return number(date.hour, 2).literal(":").number(date.minute, 2).literal(":").number(date.second, 2);
  }

 private:
  std::string_view text_;
  bool good_ = true;
};

// Sun, 06 Nov 1994 08:49:37 GMT
bool read_fixdate(std::string_view text, Date& date) noexcept {
  Reader reader(text);
  reader.weekday(3).literal(", ").number(date.day, 2).literal(" ").month(date.month).literal(" ");
  return reader.number(date.year, 4).literal(" ").time(date).literal(" GMT").complete();
}

std::int64_t seconds_of(const Date& date) noexcept;

// Sunday, 06-Nov-94 08:49:37 GMT. What seems to lie more than fifty years ahead is meant of the century before.
bool read_rfc850(std::string_view text, std::int64_t now_us, Date& date) noexcept {
  Reader reader(text);
  reader.weekday(0).literal(", ").number(date.day, 2).literal("-").month(date.month).literal("-");
  if (!reader.number(date.year, 2).literal(" ").time(date).literal(" GMT").complete()) return false;
  using std::chrono::days;
  const std::chrono::sys_days today{days(now_us / kUsPerSecond / 86'400)};
  const int this_year = static_cast<int>(std::chrono::year_month_day(today).year());
  date.year += this_year / 100 * 100 + 100;
  const auto too_far = [&] {
    Date limit = date;
    limit.year -= 50;
    return seconds_of(limit) > now_us / kUsPerSecond;
  };
  while (too_far()) date.year -= 100;
  return true;
}

// Sun Nov  6 08:49:37 1994
bool read_asctime(std::string_view text, Date& date) noexcept {
  Reader reader(text);
  reader.weekday(3).literal(" ").month(date.month).literal(" ").number(date.day, 2, true).literal(" ");
  return reader.time(date).literal(" ").number(date.year, 4).complete();
}

bool exists(const Date& date) noexcept {
  const std::chrono::year_month_day day{std::chrono::year(date.year), std::chrono::month(date.month),
                                        std::chrono::day(date.day)};
  return day.ok() && date.hour < 24 && date.minute < 60 && date.second <= 60;  // a leap second
}

std::int64_t seconds_of(const Date& date) noexcept {
  const std::chrono::year_month_day day{std::chrono::year(date.year), std::chrono::month(date.month),
                                        std::chrono::day(date.day)};
  const std::int64_t days = std::chrono::sys_days(day).time_since_epoch().count();
  return ((days * 24 + date.hour) * 60 + date.minute) * 60 + date.second;
}

std::optional<std::int64_t> read_seconds(std::string_view text) noexcept {
  std::int64_t seconds = 0;
  for (const char byte : text) {
    if (byte < '0' || byte > '9') return std::nullopt;
    seconds = std::min(kMostSeconds, 10 * seconds + (byte - '0'));
  }
  return seconds;
}

}  // namespace

std::optional<std::int64_t> retry_after_us(std::string_view value, std::int64_t now_us) noexcept {
  while (!value.empty() && is_space(value.front())) value.remove_prefix(1);
  while (!value.empty() && is_space(value.back())) value.remove_suffix(1);
  if (value.empty()) return std::nullopt;
  if (const auto seconds = read_seconds(value)) {
    std::int64_t at = 0;
    if (__builtin_add_overflow(now_us, *seconds * kUsPerSecond, &at)) return std::numeric_limits<std::int64_t>::max();
    return at;
  }
  Date date;
  const bool is_date =
      read_fixdate(value, date) || read_rfc850(value, now_us, date = Date()) || read_asctime(value, date = Date());
  if (!is_date || !exists(date)) return std::nullopt;
  return std::max(now_us, seconds_of(date) * kUsPerSecond);
}

}  // namespace wee5::core
