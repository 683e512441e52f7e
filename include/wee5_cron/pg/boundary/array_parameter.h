#pragma once

#include <string>

// Postgres's headers last.
#include "wee5_cron/pg/boundary/boundary.h"

namespace wee5::pg {

// One parameter of a statement that takes many rows at once: an array with a place for each row.
struct ArrayParameter {
  Datum* values;
  bool* nulls;
  int size;
};

inline ArrayParameter make_array_parameter(int size) {
  ArrayParameter parameter;
  parameter.values = static_cast<Datum*>(palloc(sizeof(Datum) * static_cast<Size>(size)));
  parameter.nulls = static_cast<bool*>(palloc(sizeof(bool) * static_cast<Size>(size)));
  parameter.size = size;
  return parameter;
}

inline void set(ArrayParameter* parameter, int row, Datum value, bool is_null = false) {
  parameter->values[row] = value;
  parameter->nulls[row] = is_null;
}

// NULL where the text is empty.
inline void set_text(ArrayParameter* parameter, int row, const std::string* utf8) {
  bool is_null = utf8->empty();
  set(parameter, row, is_null ? 0 : CStringGetTextDatum(from_utf8(utf8->c_str())), is_null);
}

inline Datum array_of(const ArrayParameter* parameter, Oid type) {
  int16 length;
  bool by_value;
  char align;
  get_typlenbyvalalign(type, &length, &by_value, &align);
  int dims[1] = {parameter->size};
  int lower[1] = {1};
  return PointerGetDatum(
      construct_md_array(parameter->values, parameter->nulls, 1, dims, lower, type, length, by_value, align));
}

}  // namespace wee5::pg
