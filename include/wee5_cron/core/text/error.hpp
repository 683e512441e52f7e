#pragma once

#include <exception>
#include <string>
#include <utility>

namespace wee5::core {

// The kind of an error, for programs. The pg layer gives each its SQLSTATE.
enum class ErrorKind {
  kInvalidValue,  // 22023 invalid_parameter_value
  kNullValue,     // 22004 null_value_not_allowed
  kNotReady,      // 55000 object_not_in_prerequisite_state: a setting, the transport, the preload
};

// An error for a person: what happened, with the value (never the secret), and what to do next. Texts are UTF-8.
class Error : public std::exception {
 public:
  Error(ErrorKind kind, std::string message, std::string hint)
      : kind_(kind), message_(std::move(message)), hint_(std::move(hint)) {}

  ErrorKind kind() const noexcept { return kind_; }
  const char* what() const noexcept override { return message_.c_str(); }
  const std::string& message() const noexcept { return message_; }
  const std::string& hint() const noexcept { return hint_; }

 private:
  ErrorKind kind_;
  std::string message_;
  std::string hint_;
};

}  // namespace wee5::core
