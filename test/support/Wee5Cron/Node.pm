# A test's own server: PostgreSQL::Test::Cluster with pg_cron and wee5_cron preloaded, and what the tests
# ask of it.
package Wee5Cron::Node;

use strict;
use warnings;

use parent 'PostgreSQL::Test::Cluster';

use File::Basename qw(dirname);
use File::Spec;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);
use Wee5Cron::Psql;
use Wee5Cron::Session;

# Wee5Cron::Node->new_configured(name, preload => '...', conf => "...", init => {...}): initialised, not started. `new` is
# for PostgreSQL::Test::Cluster: new => { install_path => '...' }.
sub new_configured {
    my ($class, $name, %params) = @_;
    my $node = $class->new($name, %{ $params{new} // {} });
    {
        local $ENV{PATH} = _path_of_initdb(%params);
        $node->init(extra => [qw(--encoding=UTF8 --locale=C)], %{ $params{init} // {} });
    }
    my $preload = $params{preload} // 'pg_cron,wee5_cron';
    $node->append_conf('postgresql.conf', "shared_preload_libraries = '$preload'");
    # The three jobs would be due at some minutes and call the receiver. log_statement = all would log the secrets.
    $node->append_conf('postgresql.conf', <<'CONF') if $preload =~ /pg_cron/;
cron.database_name = 'postgres'
cron.use_background_workers = on
CONF
    $node->append_conf('postgresql.conf', "wee5_cron.default_jobs = off") if $preload =~ /wee5_cron/;
    $node->append_conf('postgresql.conf', <<'CONF');
max_worker_processes = 16
max_connections = 50
log_statement = none
CONF
    $node->append_conf('postgresql.conf', $params{conf}) if $params{conf};
    return $node;
}

# Where many files run, the first server of each is a copy: initdb takes as long as a short file. The file's other servers
# have a system identifier of their own.
my $initdb_once = File::Spec->rel2abs(dirname(__FILE__) . '/../initdb_once');
my $is_first    = 1;

sub _path_of_initdb {
    my (%params) = @_;
    return $ENV{PATH} if !$ENV{WEE5_INITDB_TEMPLATES} || $params{new} || !$is_first;
    $is_first = 0;
    return "$initdb_once:$ENV{PATH}";
}

# What pg_net does on the portable edition. Here the worker sends by itself.
sub deliver { return }

sub is_portable { return 0 }

sub start_new {
    my ($class, $name, %params) = @_;
    my $node = $class->new_configured($name, %params);
    $node->start;
    return $node;
}

# A session in the background. Its time limit applies to each query, not to its whole life: a session that holds something
# while others are tested may live long on a busy machine.
sub background_psql {
    my ($self, @arguments) = @_;
    my $session = $self->SUPER::background_psql(@arguments);
    $session->set_query_timer_restart;
    return $session;
}

# Creates the extension in a database (which it creates if need be), in an earlier version if one is given, and stores where it
# calls and with which secret.
sub install {
    my ($self, $database, %params) = @_;
    $self->safe_psql('postgres', qq{CREATE DATABASE "$database"})
      unless $self->safe_psql('postgres', qq{SELECT 1 FROM pg_database WHERE datname = '$database'});
    $self->configure($database, %params) if $params{api_url} || $params{secret};
    my $schema = $params{schema} // 'public';
    my $cron   = $database eq 'postgres' && ($params{pg_cron} // 1) ? 'CREATE EXTENSION IF NOT EXISTS pg_cron;' : '';
    my $version = $params{version} ? "VERSION '$params{version}'" : '';
    $self->safe_psql($database, "$cron CREATE EXTENSION wee5_cron SCHEMA $schema $version");
    return;
}

sub configure {
    my ($self, $database, %params) = @_;
    my $sql = '';
    $sql .= qq{ALTER DATABASE "$database" SET app.settings.api_url = '$params{api_url}';} if defined $params{api_url};
    $sql .= qq{ALTER DATABASE "$database" SET app.settings.cron_secret = '$params{secret}';}
      if defined $params{secret};
    $self->safe_psql('postgres', $sql);
    return;
}

# Changes a setting of wee5_cron for a database; undef: back to the default.
sub set_database {
    my ($self, $database, $setting, $value) = @_;
    return $self->safe_psql('postgres', qq{ALTER DATABASE "$database" } . (defined $value ? "SET wee5_cron.$setting = '$value'" : "RESET wee5_cron.$setting"));
}

# Takes the stored secret away.
sub forget_secret {
    my ($self, $database) = @_;
    return $self->safe_psql('postgres', qq{ALTER DATABASE "$database" RESET app.settings.cron_secret});
}

# Runs statements with all rights. The owner of a hosted project has fewer.
sub as_superuser {
    my ($self, $database, $sql) = @_;
    return $self->safe_psql($database, $sql);
}

# Changes a setting of the whole server and reloads it. When a new session sees the value, the postmaster has told all processes.
sub set_server {
    my ($self, $setting, $value) = @_;
    $self->safe_psql('postgres', "ALTER SYSTEM SET $setting = '$value'");
    $self->safe_psql('postgres', 'SELECT pg_reload_conf()');
    $self->poll_query_until('postgres', "SELECT current_setting('$setting') = '$value'")
      or die "$setting was not reloaded";
    return;
}

# Queues one call, committed; returns its id. `invoke` arguments may follow: call($db, '/x', "method => 'POST'").
sub call {
    my ($self, $database, $path, $more) = @_;
    return $self->safe_psql($database, "SELECT invoke_cron_endpoint('$path')") unless defined $more;
    return $self->safe_psql($database, "SELECT wee5_cron.invoke('$path', $more)");
}

# Sets the delivery policy of a path: policy($db, '/x', max_attempts => 1, retry_delays => '{100ms}').
sub policy {
    my ($self, $database, $path, %policy) = @_;
    my @columns = sort keys %policy;
    my $names   = join ', ', 'endpoint_path', @columns;
    my $values  = join ', ', map { defined $_ ? "'" . s/'/''/gr . "'" : 'NULL' } $path, @policy{@columns};
    my $set     = join ', ', map { "$_ = excluded.$_" } 'endpoint_path', @columns;
    $self->safe_psql($database,
        "INSERT INTO wee5_cron.endpoint ($names) VALUES ($values) ON CONFLICT (endpoint_path) DO UPDATE SET $set");
    return;
}

# A failure of this path is final, so that its row does not wait for another attempt.
sub no_retries {
    my ($self, $database, @paths) = @_;
    $self->policy($database, $_, max_attempts => 1) for @paths;
    return;
}

# The attempts of a call, oldest first.
sub attempts {
    my ($self, $database, $id) = @_;
    return $self->rows($database, "SELECT * FROM wee5_cron.attempt WHERE invocation_id = $id ORDER BY attempt");
}

# The rows of a query, each a hash.
sub rows {
    my ($self, $database, $query) = @_;
    my $lines = $self->safe_psql($database, "SELECT to_json(q) FROM ($query) q");
    return map { JSON::PP->new->utf8->decode($_) } split /\n/, $lines;
}

# The one row of a query.
sub one_row {
    my ($self, $database, $query) = @_;
    my @rows = $self->rows($database, $query);
    die scalar(@rows) . " rows, not one, of $query\n" unless @rows == 1;
    return $rows[0];
}

sub invocation {
    my ($self, $database, $id) = @_;
    return $self->one_row($database, "SELECT * FROM wee5_cron.invocation WHERE id = $id");
}

# Waits until the condition holds for the row of that id, then returns it.
sub invocation_when {
    my ($self, $database, $id, $condition) = @_;
    my $row = $self->_poll($database, "SELECT to_json(i) FROM wee5_cron.invocation i WHERE id = $id AND ($condition)", qr/\A\{/);
    die "call $id did not come to: $condition\n" . $self->_ledger_and_worker($database) unless defined $row;
    return JSON::PP->new->utf8->decode($row);
}

# Waits until the call has ended, and returns its row.
sub finished {
    my ($self, $database, $id) = @_;
    return $self->invocation_when($database, $id, 'finished_at IS NOT NULL');
}

sub wait_until_all_finished {
    my ($self, $database) = @_;
    $self->poll_query_until($database, 'SELECT count(*) = 0 FROM wee5_cron.invocation WHERE finished_at IS NULL')
      or die "not all calls of $database have ended\n" . $self->_ledger_and_worker($database);
    return;
}

# For the report of a wait that failed.
sub _ledger_and_worker {
    my ($self, $database) = @_;
    my ($status, $stdout) = $self->psql($database, <<'SQL', on_error_stop => 0);
SELECT to_json(w) FROM wee5_cron.worker w;
SELECT status, count(*), min(id), max(id) FROM wee5_cron.invocation GROUP BY status ORDER BY status;
SQL
    return $stdout . "\n";
}

# Each status with its number of rows: { succeeded => 3 }.
sub statuses {
    my ($self, $database) = @_;
    return { map { $_->{status} => $_->{n} }
          $self->rows($database, 'SELECT status, count(*)::int AS n FROM wee5_cron.invocation GROUP BY status') };
}

# The pid of the database's worker, or '' if there is none.
sub worker_pid {
    my ($self, $database) = @_;
    return $self->safe_psql('postgres',
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker' AND datname = '$database'");
}

# Waits for a worker of that database other than `besides`; returns its pid.
sub wait_for_worker {
    my ($self, $database, $besides) = @_;
    $besides ||= 0;
    $self->poll_query_until('postgres',
        "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker'"
          . " AND datname = '$database' AND pid <> $besides")
      or die "no worker came for $database\n";
    return $self->worker_pid($database);
}

sub wait_until_no_worker {
    my ($self, $database) = @_;
    return $self->poll_query_until('postgres',
        "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'wee5_cron worker' AND datname = '$database'");
}

# A setting of how texts are read. Up to 18 it is the one with which backslashes are escapes. A release candidate is less than
# its version.
sub standard_strings_off {
    my ($self) = @_;
    return $self->pg_version < '19devel' ? 'standard_conforming_strings = off' : 'backslash_quote = off';
}

# The error that a statement raises: { sqlstate, message, detail, hint, text }, or undef if it succeeds. `role`: who runs it.
sub error_of {
    my ($self, $database, $sql, %params) = @_;
    my ($status, $stdout, $stderr) = $self->psql(
        $database, $sql,
        extra_params => [ '-v', 'VERBOSITY=verbose', ($params{role} ? ('-U', $params{role}) : ()) ]);
    return undef if $status == 0;
    my %error = (text => $stderr);
    @error{qw(sqlstate message)} = $stderr =~ /(?:ERROR|FATAL):\s+(\w{5}): (.*)/;
    my $end = qr/(?=^[A-Z]+( \d+)?:\s|\z)/m;
    ($error{detail}) = $stderr =~ /^DETAIL:\s+(.*?)$end/ms;
    ($error{hint})   = $stderr =~ /^HINT:\s+(.*?)$end/ms;
    return \%error;
}

# The statement raises that SQLSTATE, with a message and a hint that match if given.
sub raises {
    my ($self, $database, $sql, $sqlstate, $name, %params) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $error = $self->error_of($database, $sql, role => $params{role});
    return fail("$name: no error") unless $error;
    my $good = is($error->{sqlstate}, $sqlstate, $name);
    $good &&= like($error->{message}, $params{message}, "$name: message") if $params{message};
    $good &&= like($error->{hint} // '', $params{hint}, "$name: hint") if $params{hint};
    diag($error->{text}) unless $good;
    return $good;
}

# As in PostgreSQL::Test::Cluster, but the program is linked once, not for each question. A limit to its time is left to
# that one.
my %psql_of;

sub psql {
    my ($self, $database, $sql, %params) = @_;
    return $self->SUPER::psql($database, $sql, %params) if grep { exists $params{$_} } qw(timeout timed_out connstr replication);
    local %ENV = $self->_get_env();
    my $program = $self->installed_command('psql');
    my $psql    = $psql_of{$program};
    $psql = $psql_of{$program} = Wee5Cron::Psql->link($program) if !$psql || !$psql->is_ours;
    my ($status, $stdout, $stderr) = $psql->run($sql, '-XAtq', '-d', $self->connstr($database), '-f', '-',
        $params{on_error_stop} // 1 ? ('-v', 'ON_ERROR_STOP=1') : (), @{ $params{extra_params} // [] });
    chomp($stdout, $stderr);
    ${ $params{stdout} } = $stdout if $params{stdout};
    ${ $params{stderr} } = $stderr if $params{stderr};
    die "psql ends by signal $status: '$stderr'\nwhile running '$sql'" if $status & 127;
    $status >>= 8;
    die "psql ends with status $status: '$stderr'\nwhile running '$sql'" if $status && $params{on_error_die};
    return wantarray ? ($status, $stdout, $stderr) : $status;
}

# Runs a statement as another role: psql -U.
sub psql_as {
    my ($self, $role, $database, $sql) = @_;
    return $self->safe_psql($database, $sql, extra_params => [ '-U', $role ]);
}

# The first request keeps the only slot of the database's worker until the receiver answers it: calls queued
# behind it stay queued. Returns the id of the call that hangs.
sub block_the_wire {
    my ($self, $database, $receiver) = @_;
    $self->set_server('wee5_cron.max_in_flight', 1);
    my $before = () = $receiver->requests('/hang');
    my $id = $self->call($database, '/hang');
    $receiver->wait_for_requests('/hang', $before + 1);
    return $id;
}

# Repeats the query until its answer is the expected one.
sub poll_query_until {
    my ($self, $database, $query, $expected) = @_;
    $expected //= 't';
    return $self->SUPER::poll_query_until($database, $query, $expected) unless defined $query;
    return defined $self->_poll($database, $query, qr/\A\Q$expected\E\z/) ? 1 : 0;
}

# Repeats the query until its answer matches, and returns the answer; undef if that takes too long. The session stays open
# meanwhile: starting a psql for each look would cost more than all servers of a test. If the server is down, the next
# look opens a new session.
sub _poll {
    my ($self, $database, $query, $expected) = @_;
    my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
    my ($session, $last);
    while (time < $deadline) {
        $session //= Wee5Cron::Session->open($self, $database);
        my $answer = $session->answer($query, $deadline);
        return $answer if defined $answer && $answer =~ $expected;
        $last = $answer if defined $answer;
        undef $session unless defined $answer;
        usleep(100_000);
    }
    my $answer = $last // 'no server answered';
    diag("this query did not come to \"$expected\" in time:\n$query\nits last answer:\n$answer");
    return undef;
}

# Stops as a power failure would: nothing more is written, and the server starts again.
sub restart_immediately {
    my ($self) = @_;
    $self->stop('immediate');
    $self->start;
    return;
}

# What no test may find in the server's log.
sub log_is_sane {
    my ($self, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $log = PostgreSQL::Test::Utils::slurp_file($self->logfile);
    my @bad = $log =~ /^.*(?:PANIC:|TRAP:|terminated by signal 11|terminated by signal 6|could not find .* in list).*$/mg;
    my $good = is(scalar @bad, 0, $name // 'the log records no crash');
    diag(@bad) unless $good;
    return $good;
}

1;
