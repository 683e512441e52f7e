#pragma once

#include <span>

namespace wee5::core {

// The value below which this fraction (0 to 1) of the values lies, between two of them where it falls there: the same
// as percentile_cont(). Reorders the values, of which there must be one at least. NaN is above all other values.
double percentile(std::span<double> values, double fraction) noexcept;

}  // namespace wee5::core
