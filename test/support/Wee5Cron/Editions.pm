# A test of the extension whose subject holds on the portable edition as well. Test 506 runs it there.
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

sub forget_secret {
    my ($self, $database) = @_;
    return $self->safe_psql($database, "DELETE FROM vault.secrets WHERE name = 'cron_secret'");
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
