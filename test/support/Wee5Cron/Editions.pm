# A test of the extension whose subject holds on the portable edition as well. Tests 506 and 508 run it there.
#
#   my $node = Wee5Cron::Editions->start_node('main');
#   my $portable = $node->is_portable;
#   ...                              # both editions
#   Wee5Cron::Editions->needs_the_worker($node);
#   ...                              # the extension alone
#
# On the portable edition, whatever waits also sends and harvests, as the worker does on the other one. start_on_pg_net() hands
# calls to the stand-in for pg_net on both: the test answers them.
package Wee5Cron::Editions;

use strict;
use warnings;

use FindBin;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

use Wee5Cron::Node;

sub is_portable { return ($ENV{WEE5_EDITION} // '') eq 'portable' }

# The parameters are those of the extension's server: Wee5Cron::Node->new_configured().
sub start_node {
    my ($class, $name, %params) = @_;
    return is_portable() ? Wee5Cron::PortableNode->start_new($name) : Wee5Cron::Node->start_new($name, %params);
}

# The calls stay in pg_net's queue until the test puts answers into its table.
sub start_on_pg_net {
    my ($class, $name, %params) = @_;
    my $node = $class->start_node($name);
    if ($node->is_portable) {
        $node->{answered_by_hand} = 1;
        $node->install('postgres', %params);
        return $node;
    }
    $node->safe_psql('postgres', "CREATE EXTENSION pg_net VERSION 'wee5fixture'");
    $node->install('postgres', %params);
    $node->safe_psql('postgres', "ALTER DATABASE postgres SET wee5_cron.transport = 'pg_net'");
    return $node;
}

# Where the library is not there, the test ends here.
sub needs_the_worker {
    my ($class, $node) = @_;
    return unless $node->is_portable;
    $node->log_is_sane;
    done_testing();
    exit 0;
}

# Runs test files on the portable edition: the name of each, and how many of its tests pass at least.
sub pass_on_portable {
    my ($class, %files) = @_;
    for my $file (sort keys %files) {
        # A directory of its own: the native run of the file may go on beside it. PostgreSQL 15 reads TESTDIR, later versions the
        # other two. Both runs take ports from one list.
        my $directory = "$PostgreSQL::Test::Utils::tmp_check/$file";
        mkdir $directory;
        local @ENV{qw(TESTDIR TESTDATADIR TESTLOGDIR)} = ($directory, "$directory/tmp_check", "$directory/tmp_check/log");
        local $ENV{PG_TEST_PORT_DIR} = $PostgreSQL::Test::Cluster::portdir;
        local $ENV{WEE5_EDITION} = 'portable';
        my @told = `'$^X' @{[ map { "'-I$_'" } @INC ]} '$FindBin::RealBin/$file.pl' 2>&1`;
        my @good = grep { /^ok / } @told;
        is($?, 0, "$file passes on the portable edition") or diag(@told);
        cmp_ok(scalar @good, '>=', $files{$file}, '... with all the tests that it shares') or diag(@told);
    }
    return;
}

# The portable edition, with the methods of Wee5Cron::Node that wait for the worker. A test runs as the owner of the project.
package Wee5Cron::PortableNode;

use strict;
use warnings;

use parent -norequire, 'Wee5Cron::Hosted';

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

use Wee5Cron::Hosted;

sub start_new {
    my ($class, $name) = @_;
    local $ENV{WEE5_PG_NET} = 'stand-in';
    return $class->SUPER::start_new($name);
}

sub is_portable { return 1 }

sub install {
    my ($self, $database, %params) = @_;
    $self->install_portable;
    $ENV{PGUSER} = 'postgres';
    $self->safe_psql('postgres', "SELECT wee5_cron.set('default_jobs', 'off'); SELECT wee5_cron.configure('$params{api_url}', '$params{secret}')");
    $self->remove_harvest_job;
    $self->{configured} = 1;
    return;
}

sub configure {
    my ($self, $database, %params) = @_;
    my ($url, $secret) = map { defined $_ ? "'$_'" : 'NULL' } @params{qw(api_url secret)};
    return $self->safe_psql($database, "SELECT wee5_cron.configure($url, $secret, keep_previous => false)");
}

sub set_database {
    my ($self, $database, $setting, $value) = @_;
    return $self->safe_psql($database, "SELECT wee5_cron.set('$setting', " . (defined $value ? "'$value'" : 'NULL') . ')');
}

# A setting of wee5_cron, which each database has for itself.
sub set_server {
    my ($self, $setting, $value) = @_;
    my ($name) = $setting =~ /^wee5_cron\.(.*)/ or die "the owner of a project cannot set $setting\n";
    return $self->set_database('postgres', $name, $value);
}

sub forget_secret {
    my ($self, $database) = @_;
    return $self->safe_psql($database, "DELETE FROM vault.secrets WHERE name = 'cron_secret'");
}

# What does the worker's task: pg_net's worker, and the job that harvests. The stand-in is no process of the server, so the owner
# of the project loses the right to see processes. The job has just run, and runs no more.
sub wait_for_worker {
    my ($self, $database) = @_;
    $self->as_superuser($database, 'REVOKE pg_monitor FROM postgres');
    my $job = $self->safe_psql($database, "SELECT cron.schedule('wee5-cron-harvest', '0 0 1 1 *', 'SELECT wee5_cron.harvest()')");
    $self->as_superuser($database, <<"SQL");
INSERT INTO cron.job_run_details (jobid, runid, database, username, command, status, start_time, end_time)
SELECT jobid, nextval('cron.runid_seq'), database, username, command, 'succeeded', now(), now() FROM cron.job WHERE jobid = $job
SQL
    return;
}

sub as_superuser {
    my ($self, $database, $sql) = @_;
    return $self->psql_as('supabase_admin', $database, $sql);
}

sub deliver {
    my ($self) = @_;
    return $self->{answered_by_hand} ? undef : $self->SUPER::deliver;
}

# Sends and harvests until the subroutine returns something. False: that took too long.
sub _harvest_until {
    my ($self, $done) = @_;
    my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
    # deliver_and_harvest() itself waits for sessions.
    local $self->{harvests} = 1;
    while (time < $deadline) {
        my $result = $done->();
        return $result if $result;
        $self->deliver_and_harvest;
        usleep(100_000);
    }
    return undef;
}

sub poll_query_until {
    my ($self, $database, $query, $expected) = @_;
    return $self->SUPER::poll_query_until($database, $query, $expected) if $self->{harvests} || !$self->{configured} || !defined $query;
    return 1 if $self->_harvest_until(sub { $self->safe_psql($database, $query) eq ($expected // 't') });
    diag("this query did not come to \"" . ($expected // 't') . "\" in time:\n$query");
    return 0;
}

sub invocation_when {
    my ($self, $database, $id, $condition) = @_;
    return $self->_harvest_until(sub { ($self->rows($database, "SELECT * FROM wee5_cron.invocation WHERE id = $id AND ($condition)"))[0] })
      || die "call $id did not come to: $condition\n" . $self->_ledger_and_worker($database);
}

sub wait_until_all_finished {
    my ($self, $database) = @_;
    return $self->_harvest_until(sub { $self->safe_psql($database, 'SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL') == 0 })
      || die "not all calls of $database have ended\n" . $self->_ledger_and_worker($database);
}

1;
