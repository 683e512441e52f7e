// The percentiles of job_status: percentile_cont() over the calls of a day of many jobs would sort all of them.

#include "wee5_cron/core/outcome/percentile.hpp"

#include <cstddef>
#include <span>
// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

namespace {

// The elements that are not NULL, in memory of their own.
std::span<double> doubles_of(ArrayType* array) {
  Datum* elements;
  bool* nulls;
  int count;
  deconstruct_array(array, FLOAT8OID, sizeof(float8), FLOAT8PASSBYVAL, TYPALIGN_DOUBLE, &elements, &nulls, &count);
  double* values = static_cast<double*>(palloc(sizeof(double) * static_cast<Size>(count)));
  std::size_t kept = 0;
  for (int i = 0; i < count; ++i)
    if (!nulls[i]) values[kept++] = DatumGetFloat8(elements[i]);
  pfree(elements);
  pfree(nulls);
  return {values, kept};
}

}  // namespace

// wee5_cron.percentiles(numbers double precision[], fractions double precision[]) -> double precision[]
WEE5_SQL_FUNCTION(wee5_cron_percentiles) {
  std::span<double> numbers = doubles_of(PG_GETARG_ARRAYTYPE_P(0));
  std::span<double> fractions = doubles_of(PG_GETARG_ARRAYTYPE_P(1));
  if (numbers.empty()) PG_RETURN_NULL();
  Datum* found = static_cast<Datum*>(palloc(sizeof(Datum) * fractions.size()));
  for (std::size_t i = 0; i < fractions.size(); ++i) {
    if (!(fractions[i] >= 0 && fractions[i] <= 1))
      ereport(ERROR, (errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
                      errmsg("percentile value %g is not between 0 and 1", fractions[i])));
    found[i] = Float8GetDatum(core::percentile(numbers, fractions[i]));
  }
  PG_RETURN_DATUM(eight_byte_array(found, static_cast<int>(fractions.size()), FLOAT8OID));
}

}  // namespace wee5::pg
