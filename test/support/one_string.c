/* one_string CONNINFO FILE: sends a file as one string, as an SQL editor does. */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char** argv) {
  FILE* file = argc == 3 ? fopen(argv[2], "rb") : NULL;
  if (file == NULL || fseek(file, 0, SEEK_END) != 0) return 2;
  long bytes = ftell(file);
  char* text = bytes >= 0 ? calloc(1, (size_t)bytes + 1) : NULL;
  rewind(file);
  if (text == NULL || fread(text, 1, (size_t)bytes, file) != (size_t)bytes) return 2;
  PGconn* connection = PQconnectdb(argv[1]);
  PGresult* result = PQexec(connection, text);
  int good = PQresultStatus(result) == PGRES_TUPLES_OK && PQntuples(result) == 1;
  if (!good) fprintf(stderr, "%s", PQerrorMessage(connection));
  PQclear(result);
  PQfinish(connection);
  free(text);
  fclose(file);
  return good ? 0 : 1;
}
