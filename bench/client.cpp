// The benchmarks' client of the database.
//
//   bench_client <connection> drain <calls> <sql>...   runs the statements in one transaction, then waits until the
//                                                      worker has recorded that many more results; prints the seconds
//                                                      from the commit to the last one
//   bench_client <connection> calls <path> <rate> <seconds> <connections> <file>
//                                                      makes calls, one per transaction, at that rate; writes one line
//                                                      per call into the file: id, and when the commit returned (unix
//                                                      time in microseconds)

#include <libpq-fe.h>
#include <poll.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(const char* what, const char* words) {
  std::fprintf(stderr, "bench_client: %s: %s\n", what, words);
  std::exit(1);
}

PGconn* connect(const char* connection) {
  PGconn* database = PQconnectdb(connection);
  if (PQstatus(database) != CONNECTION_OK) give_up("connection", PQerrorMessage(database));
  return database;
}

void execute(PGconn* database, const char* sql) {
  PGresult* result = PQexec(database, sql);
  const ExecStatusType status = PQresultStatus(result);
  if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK) give_up(sql, PQerrorMessage(database));
  PQclear(result);
}

// Read from the worker's shared memory, which does not burden the ledger.
long recorded(PGconn* database) {
  PGresult* result = PQexec(database,
                            "SELECT succeeded + failed FROM wee5_cron.worker_slots() WHERE datid = "
                            "(SELECT oid FROM pg_database WHERE datname = current_database())");
  if (PQresultStatus(result) != PGRES_TUPLES_OK) give_up("worker", PQerrorMessage(database));
  const long count = PQntuples(result) > 0 ? std::atol(PQgetvalue(result, 0, 0)) : 0;
  PQclear(result);
  return count;
}

void wait_for(PGconn* database, long count) {
  long seen = -1;
  auto moved = Clock::now();
  for (long now = recorded(database); now < count; now = recorded(database)) {
    if (now != seen) moved = Clock::now();
    seen = now;
    if (Clock::now() - moved > std::chrono::seconds(60)) give_up("wait", "nothing was recorded for a minute");
    usleep(5000);
  }
}

int drain(PGconn* database, int argc, char** argv) {
  const long before = recorded(database);
  execute(database, "BEGIN");
  for (int i = 1; i < argc; ++i) execute(database, argv[i]);
  execute(database, "COMMIT");
  const auto began = Clock::now();
  wait_for(database, before + std::atol(argv[0]));
  std::printf("%.4f\n", std::chrono::duration<double>(Clock::now() - began).count());
  return 0;
}

long long unix_us() {
  return std::chrono::duration_cast<std::chrono::microseconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

struct Caller {
  PGconn* database;
  bool busy = false;
};

void receive(Caller& caller, std::FILE* file) {
  PQconsumeInput(caller.database);
  while (PQisBusy(caller.database) == 0) {
    PGresult* result = PQgetResult(caller.database);
    if (result == nullptr) {
      caller.busy = false;
      return;
    }
    if (PQresultStatus(result) != PGRES_TUPLES_OK) give_up("call", PQerrorMessage(caller.database));
    std::fprintf(file, "%s %lld\n", PQgetvalue(result, 0, 0), unix_us());
    PQclear(result);
  }
}

int make_calls(const char* connection, char** argv) {
  const char* path = argv[0];
  const double rate = std::atof(argv[1]);
  const double seconds = std::atof(argv[2]);
  std::vector<Caller> callers(static_cast<std::size_t>(std::atol(argv[3])));
  std::FILE* file = std::fopen(argv[4], "w");
  if (file == nullptr) give_up(argv[4], std::strerror(errno));
  for (Caller& caller : callers) {
    caller.database = connect(connection);
    PGresult* prepared = PQprepare(caller.database, "call", "SELECT public.invoke_cron_endpoint($1)", 1, nullptr);
    if (PQresultStatus(prepared) != PGRES_COMMAND_OK) give_up("prepare", PQerrorMessage(caller.database));
    PQclear(prepared);
  }
  const auto began = Clock::now();
  const long total = static_cast<long>(rate * seconds);
  long made = 0;
  std::vector<pollfd> sockets(callers.size());
  for (;;) {
    const double now = std::chrono::duration<double>(Clock::now() - began).count();
    bool busy = false;
    for (Caller& caller : callers) {
      if (caller.busy) receive(caller, file);
      if (!caller.busy && made < total && static_cast<double>(made) <= now * rate) {
        PQsendQueryPrepared(caller.database, "call", 1, &path, nullptr, nullptr, 0);
        PQflush(caller.database);
        caller.busy = true;
        ++made;
      }
      busy = busy || caller.busy;
    }
    if (!busy && made >= total) break;
    for (std::size_t i = 0; i < callers.size(); ++i)
      sockets[i] = {PQsocket(callers[i].database), static_cast<short>(callers[i].busy ? POLLIN : 0), 0};
    const double next = static_cast<double>(made) / rate - std::chrono::duration<double>(Clock::now() - began).count();
    timespec pause{0, 0};
    if (next > 0) pause.tv_nsec = static_cast<long>((next < 0.01 ? next : 0.01) * 1e9);
    ppoll(sockets.data(), sockets.size(), made < total ? &pause : nullptr, nullptr);
  }
  std::fclose(file);
  std::printf("%.0f\n", static_cast<double>(total) / std::chrono::duration<double>(Clock::now() - began).count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::string mode = argc > 2 ? argv[2] : "";
  if (mode == "drain" && argc >= 5) return drain(connect(argv[1]), argc - 3, argv + 3);
  if (mode == "calls" && argc == 8) return make_calls(argv[1], argv + 3);
  std::fprintf(stderr, "usage: see client.cpp\n");
  return 2;
}
