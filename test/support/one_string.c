/* one_string CONNINFO FILE: sends a file as one string, as an SQL editor does. If the file has NUL bytes, they end its statements:
   it sends each by itself in the extended protocol, in one transaction, as a runner of migrations does. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int send_statements(PGconn* connection, const char* text, const char* end) {
  int good = 1;
  for (const char* statement = text; statement < end && good; statement += strlen(statement) + 1) {
    PGresult* result = PQexecParams(connection, statement, 0, NULL, NULL, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    good = status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK;
    PQclear(result);
  }
  return good;
}

static int send_string(PGconn* connection, const char* text) {
  PGresult* result = PQexec(connection, text);
  int good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
  PQclear(result);
  return good;
}

int main(int argc, char** argv) {
  FILE* file = argc == 3 ? fopen(argv[2], "rb") : NULL;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 2;
  long bytes = ftell(file);
  char* text = bytes >= 0 ? calloc(1, (size_t)bytes + 1) : NULL;
  rewind(file);
  if (text == NULL || fread(text, 1, (size_t)bytes, file) != (size_t)bytes) return 2;
  PGconn* connection = PQconnectdb(argv[1]);
  int good = memchr(text, 0, (size_t)bytes) != NULL ? send_statements(connection, text, text + bytes) : send_string(connection, text);
  if (!good) fprintf(stderr, "%s", PQerrorMessage(connection));
  PQfinish(connection);
  free(text);
  fclose(file);
  return good ? 0 : 1;
}
