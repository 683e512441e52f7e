#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

// JSON (RFC 8259), as far as settings hold it: objects whose values are texts or objects. It accepts what jsonb
// accepts.
namespace wee5::core {

struct JsonMember;

struct JsonValue {
  enum class Kind { kText, kObject, kOther };
  Kind kind = Kind::kOther;
  std::string text;                 // of kText: UTF-8 without NUL
  std::vector<JsonMember> members;  // of kObject, in the order of the text

  // The member of that name; the last one, if there are several. NULL: there is none.
  const JsonValue* find(std::string_view name) const noexcept;
  // The text of the member of that name; nullopt if it is missing or no text.
  std::optional<std::string_view> text_of(std::string_view name) const noexcept;
};

struct JsonMember {
  std::string name;
  JsonValue value;
};

// nullopt: the text is no JSON, or is nested too deeply for a setting.
std::optional<JsonValue> parse_json(std::string_view text);

// A text as JSON, with its quotes.
std::string json_text(std::string_view utf8);

}  // namespace wee5::core
