#pragma once

#include <string>
#include <string_view>

namespace wee5::core {

// What the header lines of an answer say of a cache that gave it in place of the route: `x-vercel-cache` HIT or STALE,
// `x-nextjs-cache` HIT, `Age` above 0 (RFC 9111, section 5.1).
class CacheSigns {
 public:
  // One header line, "Name: value", with or without its line end. One that is of no such header is passed over.
  void read_line(std::string_view line) noexcept;

  bool any() const noexcept { return vercel_hit_ || vercel_stale_ || nextjs_hit_ || aged_; }
  // Those that there are: "x-vercel-cache: HIT, Age above 0". In our own words, since a value could hold the secret.
  std::string text() const;

 private:
  bool vercel_hit_ = false;
  bool vercel_stale_ = false;
  bool nextjs_hit_ = false;
  bool aged_ = false;
  bool age_known_ = false;
};

}  // namespace wee5::core
