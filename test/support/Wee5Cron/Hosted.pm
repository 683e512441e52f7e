# A server as a host sets it up: the role postgres is not a superuser and owns the database, cron.job is read-only, pg_net and
# Vault belong to another role, and our library is not installed. For the tests of the portable edition.
#
#   my $node = Wee5Cron::Hosted->start_new('main');
#   $node->install_portable;
#   $node->as_owner("SELECT wee5_cron.configure('@{[ $receiver->url ]}', 'the secret')");
#   my $id = $node->as_owner("SELECT invoke_cron_endpoint('/status/200')");
#   $node->deliver;      # pg_net sends what is queued
#   $node->as_owner('SELECT wee5_cron.harvest()');
#
# The real pg_net sends if it is installed. Otherwise deliver() does what pg_net's worker does: it sends a batch, and writes
# the answers in one transaction. WEE5_PG_NET=stand-in asks for that in any case.
package Wee5Cron::Hosted;

use strict;
use warnings;

use parent -norequire, 'Wee5Cron::Node';

use Cwd qw(abs_path);
use File::Basename qw(dirname);
use HTTP::Tiny;
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Test::More;

use Wee5Cron::Node;

my $file = abs_path(dirname(__FILE__) . '/../../..') . '/sql/wee5_cron--portable.sql';

sub portable_file { return $file }

# As a host creates its databases: with the rules of Unicode, in which other characters than k and s become k and s in lower case.
sub locale {
    return `pg_config --configure` =~ /--with-icu/ ? qw(--locale-provider=icu --icu-locale=en-US --locale=C.UTF-8) : qw(--locale=C);
}

sub uses_real_pg_net {
    return ($ENV{WEE5_PG_NET} // '') ne 'stand-in' && Wee5Cron::Test::pg_net_available();
}

# bare: without the extensions. clock: a Wee5Cron::StillClock.
sub start_new {
    my ($class, $name, %params) = @_;
    $ENV{PGUSER} = 'supabase_admin';
    my $real = uses_real_pg_net();
    my $node = $class->new_configured($name, preload => 'pg_cron' . ($real ? ',pg_net' : ''),
        init => { allows_streaming => 1, extra => [ '--encoding=UTF8', '--username=supabase_admin', $class->locale ] },
        conf => ($real ? "pg_net.database_name = 'postgres'\n" : '') . "statement_timeout = '2min'\n");
    $node->{real_pg_net} = $real;
    $params{clock} ? $params{clock}->start($node) : $node->start;
    $node->safe_psql('postgres', <<'SQL');
CREATE ROLE postgres LOGIN CREATEROLE CREATEDB REPLICATION BYPASSRLS;
CREATE ROLE anon NOLOGIN NOINHERIT; CREATE ROLE authenticated NOLOGIN NOINHERIT; CREATE ROLE service_role NOLOGIN NOINHERIT BYPASSRLS;
CREATE ROLE authenticator LOGIN NOINHERIT;
GRANT anon, authenticated, service_role TO authenticator;
-- From PostgreSQL 16 on, CREATEROLE alone does not let the owner grant and revoke them.
GRANT anon, authenticated, service_role TO postgres WITH ADMIN OPTION;
GRANT pg_monitor, pg_read_all_data, pg_signal_backend TO postgres;
ALTER DATABASE postgres OWNER TO postgres;
ALTER SCHEMA public OWNER TO postgres;
GRANT USAGE ON SCHEMA public TO PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON TABLES TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON FUNCTIONS TO postgres, anon, authenticated, service_role;
ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT ALL ON SEQUENCES TO postgres, anon, authenticated, service_role;
SQL
    $node->add_extensions unless $params{bare};
    return $node;
}

sub add_extensions {
    my ($self) = @_;
    my $pg_net = $self->{real_pg_net} ? 'CREATE EXTENSION pg_net;' : "CREATE EXTENSION pg_net VERSION 'wee5fixture';";
    $self->safe_psql('postgres', <<"SQL");
CREATE EXTENSION pg_cron;
GRANT USAGE ON SCHEMA cron TO postgres;
REVOKE INSERT, UPDATE, DELETE ON cron.job FROM PUBLIC;
GRANT SELECT ON cron.job TO postgres;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA cron TO postgres;
GRANT SELECT, DELETE, TRUNCATE ON cron.job_run_details TO postgres;
$pg_net
GRANT USAGE ON SCHEMA net TO PUBLIC;
GRANT ALL ON net.http_request_queue, net._http_response TO PUBLIC;
GRANT ALL ON ALL SEQUENCES IN SCHEMA net TO PUBLIC;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA net TO postgres, anon, authenticated, service_role;
CREATE SCHEMA vault;
CREATE EXTENSION supabase_vault SCHEMA vault VERSION 'wee5fixture';
GRANT USAGE ON SCHEMA vault TO postgres, service_role;
GRANT SELECT, INSERT, UPDATE, DELETE ON vault.secrets TO postgres;
GRANT SELECT ON vault.decrypted_secrets TO postgres;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA vault TO postgres, service_role;
SQL
    return;
}

# Runs statements as the owner of the project.
sub as_owner {
    my ($self, $sql) = @_;
    return $self->psql_as('postgres', 'postgres', $sql);
}

# Runs a long script from a file. Returns its output, and the error as Wee5Cron::Node's error_of() does: undef if there
# is none. single: in one transaction, as a migration is.
sub run_script {
    my ($self, $sql, %params) = @_;
    my $script = PostgreSQL::Test::Utils::tempdir() . '/script.sql';
    append_to_file($script, $sql);
    my ($stdout, $stderr) = ('', '');
    my @command = ('psql', qw(-XAtq -v ON_ERROR_STOP=1 -v VERBOSITY=verbose), ($params{single} // 1) ? '-1' : (),
        '-U', $params{role} // 'postgres', '-d', $self->connstr('postgres'), '-f', $script);
    my $good = IPC::Run::run(\@command, '>', \$stdout, '2>', \$stderr);
    return ($stdout, undef, $stderr) if $good;
    my %error = (text => $stderr);
    @error{qw(sqlstate message)} = $stderr =~ /(?:ERROR|FATAL):\s+(\w{5}): (.*)/;
    ($error{hint}) = $stderr =~ /HINT:\s+(.*?)(?=^[A-Z]+( \d+)?:\s|\z)/ms;
    return ($stdout, \%error, $stderr);
}

# Installs or upgrades the portable edition.
sub install_portable {
    my ($self) = @_;
    my ($stdout, $error) = $self->run_script(PostgreSQL::Test::Utils::slurp_file($file));
    die $error->{text} if $error;
    return $stdout;
}

# pg_net sends every queued request, and writes the answers.
sub deliver {
    my ($self) = @_;
    if ($self->{real_pg_net}) {
        $self->poll_query_until('postgres', <<'SQL') or die "pg_net did not answer\n";
SELECT NOT EXISTS (SELECT FROM wee5_cron.pg_net_request b WHERE NOT EXISTS (SELECT FROM net._http_response r WHERE r.id = b.request_id))
SQL
        return;
    }
    my @batch = $self->rows('postgres',
        "SELECT id, method, url, headers, convert_from(body, 'UTF8') AS body, timeout_milliseconds FROM net.http_request_queue ORDER BY id");
    return unless @batch;
    my @answers = map { _send($_) } @batch;
    my $json = JSON::PP->new->utf8->encode(\@answers) =~ s/'/''/gr;
    $self->safe_psql('postgres', <<"SQL");
BEGIN;
DELETE FROM net.http_request_queue q USING jsonb_array_elements('$json') a WHERE q.id = (a->>'id')::bigint;
INSERT INTO net._http_response (id, status_code, content_type, headers, content, timed_out, error_msg)
SELECT a.id, a.status_code, a.content_type, a.headers, a.content, a.timed_out, a.error_msg
FROM jsonb_to_recordset('$json') AS a (id bigint, status_code int, content_type text, headers jsonb, content text, timed_out boolean, error_msg text);
COMMIT;
SQL
    return;
}

sub _send {
    my ($request) = @_;
    my %headers = %{ $request->{headers} };
    my $agent   = delete $headers{'User-Agent'};
    my $answer  = HTTP::Tiny->new(timeout => $request->{timeout_milliseconds} / 1000, agent => $agent)->request(
        $request->{method}, $request->{url},
        { headers => \%headers, defined $request->{body} ? (content => $request->{body}) : () });
    # HTTP::Tiny's own errors, in libcurl's words.
    if ($answer->{status} == 599) {
        my $late = $answer->{content} =~ /Timed out/;
        return { id => $request->{id}, timed_out => $late ? JSON::PP::true : JSON::PP::false,
            error_msg => $late ? "Timeout of $request->{timeout_milliseconds} ms reached" : "Couldn't connect to server" };
    }
    return { id => $request->{id}, status_code => $answer->{status} + 0, content_type => $answer->{headers}{'content-type'},
        headers => $answer->{headers}, content => $answer->{content}, timed_out => JSON::PP::false };
}

# From now on only the test harvests.
sub remove_harvest_job {
    my ($self) = @_;
    $self->as_owner("SELECT cron.unschedule(jobid) FROM cron.job WHERE jobname = 'wee5-cron-harvest'");
    return $self->_wait_for_other_harvests;
}

# Sends the requests, and records the answers. A run of the job may have some of them: that one ends first.
sub deliver_and_harvest {
    my ($self) = @_;
    $self->deliver;
    my $recorded = $self->as_owner('SELECT wee5_cron.harvest()');
    $self->_wait_for_other_harvests;
    return $recorded;
}

sub _wait_for_other_harvests {
    my ($self) = @_;
    $self->poll_query_until('postgres', <<'SQL') or die "a run of harvest() does not end\n";
SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%harvest()%' AND pid <> pg_backend_pid())
SQL
    return;
}

1;
