#pragma once

#include <memory>
#include <string>

namespace wee5::delivery {

// For doctor(): looks up a host name with libcurl's resolver, as a call would, and sends no packet to the host itself.
// It cannot hang: its owner proceeds in steps, and may destroy it in the middle of a lookup. Calls do not use this
// class: the engine leaves their lookups to libcurl.
class NameLookup {
 public:
  // `host` is written as in a URL, IPv6 in brackets. Throws std::runtime_error if libcurl cannot begin.
  explicit NameLookup(const std::string& host);
  ~NameLookup();
  NameLookup(const NameLookup&) = delete;
  NameLookup& operator=(const NameLookup&) = delete;

  // Whether this libcurl can abandon a lookup: it needs a resolver thread that nobody has to join.
  static bool possible() noexcept;

  // Waits up to that long. Returns true when the lookup has ended.
  bool step(int milliseconds);
  // After the end: the first address, or "" and the reason.
  const std::string& address() const noexcept;
  const std::string& error() const noexcept;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace wee5::delivery
