#pragma once

// The line between Postgres, which leaves functions by longjmp, and C++, which leaves them by exception. Neither may
// cross the other's frames. So every entry point has three separate parts:
//
//   Postgres in    POD locals only; arguments become palloc'd C strings
//   C++            one run_cpp() call; it never calls Postgres, not even palloc or elog(LOG)
//   Postgres out   POD locals only
//
//   wrong:  std::string path = text_to_cstring(...);   // an ERROR in the next Postgres call jumps over ~string
//           try { ... } catch (...) { ereport(ERROR, ...); }  // jumps out of the handler, the exception leaks
//   right:  char* path = text_to_cstring(...);
//           CppFailure failure;
//           if (!run_cpp(&failure, [&] { ...std::string from path... })) raise(&failure);
//
// Postgres code may read heap objects that a static pointer owns, through plain pointers.

#include <cstring>
#include <exception>
#include <new>
#include <string>
#include <string_view>

#include "wee5_cron/core/text/error.hpp"
#include "wee5_cron/core/text/text_buffer.hpp"
// Postgres's headers last.
#include "wee5_cron/pg/boundary/compat.h"

namespace wee5::pg {

// An exception, copied into plain memory, so that raise() can report it after its handler has ended. Texts are UTF-8.
struct CppFailure {
  int sqlstate;
  char message[1024];
  char hint[1024];
};

inline void copy_failure_text(char* target, std::size_t size, const char* text) noexcept {
  std::size_t length = strlen(text);
  if (length >= size) {
    length = size - 1;
    while (length > 0 && (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80) --length;  // not within a character
  }
  memcpy(target, text, length);
  target[length] = '\0';
}

inline int sqlstate_of(core::ErrorKind kind) noexcept {
  switch (kind) {
    case core::ErrorKind::kInvalidValue:
      return ERRCODE_INVALID_PARAMETER_VALUE;
    case core::ErrorKind::kNullValue:
      return ERRCODE_NULL_VALUE_NOT_ALLOWED;
    case core::ErrorKind::kNotReady:
      return ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE;
  }
  return ERRCODE_INTERNAL_ERROR;
}

// Runs C++. Returns false if it threw, and copies the exception to *failure.
template <class Body>
bool run_cpp(CppFailure* failure, Body&& body) noexcept {
  failure->hint[0] = '\0';
  try {
    body();
    return true;
  } catch (const core::Error& error) {
    failure->sqlstate = sqlstate_of(error.kind());
    copy_failure_text(failure->message, sizeof(failure->message), error.what());
    copy_failure_text(failure->hint, sizeof(failure->hint), error.hint().c_str());
  } catch (const std::bad_alloc&) {
    failure->sqlstate = ERRCODE_OUT_OF_MEMORY;
    copy_failure_text(failure->message, sizeof(failure->message), "out of memory");
  } catch (const std::exception& error) {
    failure->sqlstate = ERRCODE_INTERNAL_ERROR;
    copy_failure_text(failure->message, sizeof(failure->message), error.what());
  } catch (...) {
    failure->sqlstate = ERRCODE_INTERNAL_ERROR;
    copy_failure_text(failure->message, sizeof(failure->message), "unknown C++ exception");
  }
  return false;
}

// Reports the failure as an ERROR. Call it with no C++ object alive.
[[noreturn]] void raise(const CppFailure* failure);

// A buffer of palloc'd memory for C++, which must not call palloc itself.
using core::TextBuffer;

inline TextBuffer make_text_buffer(std::size_t capacity) {
  TextBuffer buffer;
  buffer.data = static_cast<char*>(palloc(capacity));
  buffer.capacity = capacity;
  buffer.length = 0;
  return buffer;
}

// From the server's encoding to UTF-8. Returns `text` itself if it needs no conversion. Raises if it is not valid.
char* to_utf8(char* text);
// The same for stored text, which must not stop a call: a byte that is not valid becomes U+FFFD.
char* to_utf8_lossy(char* text);
// From UTF-8 to the server's encoding, for text from the network, which must never raise: a character that the encoding
// does not have becomes '?'.
char* from_utf8(const char* text);

inline std::string_view view_or_empty(const char* text) noexcept {
  return text == nullptr ? std::string_view() : std::string_view(text);
}

}  // namespace wee5::pg

// Declares an SQL-callable C function with its symbol visible (PGXS hides everything else).
#define WEE5_SQL_FUNCTION(name)             \
  extern "C" {                              \
  PGDLLEXPORT Datum name(PG_FUNCTION_ARGS); \
  PG_FUNCTION_INFO_V1(name);                \
  }                                         \
  Datum name(PG_FUNCTION_ARGS)
