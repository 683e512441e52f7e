#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// Signs in an answer's header that it came from a cache and not from the route: `x-vercel-cache` HIT or STALE,
// `x-nextjs-cache` HIT, `Age` above 0 (RFC 9111, section 5.1).
class CacheSigns {
 public:
  // One header line, "Name: value", with or without its line end. Other headers are ignored.
  void read_line(std::string_view line) noexcept;

  bool any() const noexcept { return vercel_hit_ || vercel_stale_ || nextjs_hit_ || aged_; }
  // The signs that were found: "x-vercel-cache: HIT, Age above 0". Never a header's own text, which could be the
  // secret.
  std::string text() const;

 private:
  bool vercel_hit_ = false;
  bool vercel_stale_ = false;
  bool nextjs_hit_ = false;
  bool aged_ = false;
  bool age_known_ = false;
};

}  // namespace wee5::core
