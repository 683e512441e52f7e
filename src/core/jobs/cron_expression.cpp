#include "cron_expression.hpp"

#include <array>
#include <cstdlib>
#include <string>

#include "wee5_cron/core/text/ascii.hpp"

// This reader must agree with pg_cron's parser, even where the parser is odd: pg_cron starts a job by what it read, not
// by what the author of the schedule meant. pg_cron's parser is Vixie cron's of 1994 over a memory buffer. A comment
// names each oddity of pg_cron 1.4.2 to 1.6.7; the tests have an example of each.
namespace wee5::core {
namespace {

using Bits = CronExpression::Bits;

constexpr std::size_t kLongestText = 999;  // pg_cron's buffer has 1,000 bytes with the NUL
constexpr int kEnd = -1;                   // after the NUL that ends the text

constexpr std::array<std::string_view, 12> kMonthNames = {"jan", "feb", "mar", "apr", "may", "jun",
                                                          "jul", "aug", "sep", "oct", "nov", "dec"};
constexpr std::array<std::string_view, 7> kWeekdayNames = {"sun", "mon", "tue", "wed", "thu", "fri", "sat"};

struct Field {
  int low;
  int high;
  const std::string_view* names = nullptr;
  std::size_t name_count = 0;
};

constexpr Field kMinutes{0, 59};
constexpr Field kHours{0, 23};
constexpr Field kDays{1, 31};
constexpr Field kMonths{1, 12, kMonthNames.data(), kMonthNames.size()};
constexpr Field kWeekdays{0, 7, kWeekdayNames.data(), kWeekdayNames.size()};
constexpr Field kStep{0, 0};

bool is_blank(int byte) { return byte == ' ' || byte == '\t'; }
bool ends_field(int byte) { return is_blank(byte) || byte == '\n' || byte == '\0' || byte == kEnd; }

// atoi() of glibc on 64-bit platforms: the lower 32 bits of the number; beyond 64 bits of the largest one, so -1.
int number_of(const std::string& digits) { return static_cast<int>(std::strtoll(digits.c_str(), nullptr, 10)); }

// Sets the bits first..last. With `reversed_wraps` (the parser of pg_cron 1.6) a reversed range without a step, such as
// "20-10", is not empty: it sets the rest of the first number's byte in the bit string and the start of the last one's.
void set_range(Bits& bits, int first, int last, int step, bool reversed_wraps) {
  if (first > last && step == 1 && reversed_wraps && first / 8 != last / 8) {
    set_range(bits, first, first / 8 * 8 + 7, 1, false);
    set_range(bits, last / 8 * 8, last, 1, false);
    return;
  }
  for (int bit = first; bit <= last; bit += step) {
    bits.set(static_cast<std::size_t>(bit));
    if (step > last - bit) break;  // the sum may not fit an int
  }
}

class Reader {
 public:
  Reader(std::string_view text, CronDialect dialect) : text_(text), dialect_(dialect) {}

  std::optional<CronExpression> read() {
    skip_comments();
    if (byte_ == kEnd) return std::nullopt;
    if (byte_ == '@') return read_word();
    return read_fields();
  }

 private:
  void next() {
    if (position_ < text_.size()) {
      byte_ = static_cast<unsigned char>(text_[position_]);
    } else {
      byte_ = position_ == text_.size() ? '\0' : kEnd;
    }
    ++position_;
  }

  // Moves to the first byte that is neither on a blank line nor in a comment.
  void skip_comments() {
    next();
    for (;; next()) {
      while (is_blank(byte_)) next();
      if (byte_ != '\n' && byte_ != '#') return;
      while (byte_ != '\n' && byte_ != kEnd) next();
      if (byte_ == kEnd) return;
    }
  }

  std::optional<CronExpression> read_fields() {
    CronExpression read;
    if (!read_list(kMinutes, read.minutes) || !read_list(kHours, read.hours)) return std::nullopt;
    if (dialect_.last_day && byte_ == '$') {
      next();
      if (!is_blank(byte_)) return std::nullopt;
      while (is_blank(byte_)) next();
      read.last_day = true;
    } else {
      read.day_star = byte_ == '*';
      if (!read_list(kDays, read.days)) return std::nullopt;
    }
    if (!read_list(kMonths, read.months)) return std::nullopt;
    read.weekday_star = byte_ == '*';
    if (!read_list(kWeekdays, read.weekdays)) return std::nullopt;
    if (read.weekdays[0] || read.weekdays[7]) read.weekdays[0] = read.weekdays[7] = true;
    return read;
  }

  // Ranges between commas. The reader skips whatever follows the last one up to the next blank ("*x" is "*"), and
  // everything after the fifth field.
  bool read_list(const Field& field, Bits& bits) {
    for (;; next()) {
      if (!read_range(field, bits)) return false;
      if (byte_ != ',') break;
    }
    while (!ends_field(byte_)) next();
    while (is_blank(byte_)) next();
    return byte_ != kEnd;
  }

  // "*", "n" or "n-m"; "*" and "n-m" may have a step.
  bool read_range(const Field& field, Bits& bits) {
    int first = field.low;
    int last = field.high;
    int step = 1;
    if (byte_ == '*') {
      next();
      if (!read_step(step)) return false;
    } else {
      if (!read_number(field, first)) return false;
      if (byte_ == '/') return false;  // a step needs a range: "5/10" is refused
      last = first;
      if (byte_ == '-' && !read_end_of_range(field, last, step)) return false;
    }
    if (!is_in(field, first) || !is_in(field, last)) return false;
    set_range(bits, first - field.low, last - field.low, step, dialect_.last_day);
    return true;
  }

  bool read_end_of_range(const Field& field, int& last, int& step) {
    next();
    return read_number(field, last) && read_step(step);
  }

  bool read_step(int& step) {
    if (byte_ != '/') return true;
    next();
    return read_number(kStep, step) && step > 0;
  }

  static bool is_in(const Field& field, int value) { return value >= field.low && value <= field.high; }

  // A run of letters and digits: one of the field's names, or a number.
  bool read_number(const Field& field, int& value) {
    std::string word;
    bool all_digits = true;
    for (; byte_ > 0 && is_alnum(static_cast<char>(byte_)); next()) {
      word += static_cast<char>(byte_);
      all_digits = all_digits && is_digit(static_cast<char>(byte_));
    }
    for (std::size_t i = 0; i < field.name_count; ++i) {
      if (!equals_ignoring_case(word, field.names[i])) continue;
      value = static_cast<int>(i) + field.low;
      return true;
    }
    if (word.empty() || !all_digits) return false;
    value = number_of(word);
    return true;
  }

  // Words such as @hourly. Unlike names, they are case-sensitive. The reader skips whatever follows the word.
  std::optional<CronExpression> read_word() {
    std::string word;
    for (next(); !ends_field(byte_); next()) word += static_cast<char>(byte_);
    CronExpression read;
    if (word == "reboot" || word == "restart") {
      read.at_reboot = true;
      return read;
    }
    const std::string_view fields = fields_of(word);
    if (fields.empty()) return std::nullopt;
    return Reader(fields, dialect_).read_fields_of_word();
  }

  std::optional<CronExpression> read_fields_of_word() {
    next();
    return read_fields();
  }

  std::string_view fields_of(std::string_view word) const {
    // pg_cron 1.6 sets the month of @yearly by a number below the field's range. That has no effect, so the job never
    // runs.
    if (word == "yearly" || word == "annually") return dialect_.last_day ? "0 0 1 12-11 *" : "0 0 1 1 *";
    if (word == "monthly") return "0 0 1 * *";
    if (word == "weekly") return "0 0 * * 0";
    if (word == "daily" || word == "midnight") return "0 0 * * *";
    if (word == "hourly") return "0 * * * *";
    return {};
  }

  std::string_view text_;
  CronDialect dialect_;
  std::size_t position_ = 0;
  int byte_ = kEnd;
};

std::string_view without_space_before(std::string_view text) {
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  return text;
}

}  // namespace

std::optional<CronExpression> read_cron_expression(std::string_view text, CronDialect dialect) {
  text = text.substr(0, text.find('\0'));
  if (text.size() > kLongestText) return std::nullopt;
  return Reader(text, dialect).read();
}

// Accepts what pg_cron's sscanf(" %u secon%c%c %c") of the lower-cased text accepts: "5seconds", "+5 Second" and
// "5 seconds  ", but not "5 second " (it takes the blank for the plural), and nothing behind it.
int read_seconds_interval(std::string_view text) {
  const std::string lower = lower_case(without_space_before(text.substr(0, text.find('\0'))));
  const std::size_t sign = lower.starts_with('+') || lower.starts_with('-') ? 1 : 0;
  if (lower.size() <= sign || !is_digit(lower[sign])) return 0;
  char* end = nullptr;
  // %u of glibc keeps the lower 32 bits of a 64-bit number.
  const auto seconds = static_cast<std::uint32_t>(std::strtoull(lower.c_str(), &end, 10));
  std::string_view rest = without_space_before(std::string_view(end));
  if (!rest.starts_with("second")) return 0;
  rest.remove_prefix(6);
  if (rest.starts_with('s')) {
    if (!without_space_before(rest.substr(1)).empty()) return 0;
  } else if (!rest.empty()) {
    return 0;
  }
  return seconds >= 1 && seconds <= 59 ? static_cast<int>(seconds) : 0;
}

}  // namespace wee5::core
