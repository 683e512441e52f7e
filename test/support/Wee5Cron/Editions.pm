# A test of the extension whose subject holds on the portable edition as well. Test 506 runs it there.
#
#   my $node = Wee5Cron::Editions->start_node('main');
#   my $portable = $node->is_portable;
#   ...                              # both editions
#   Wee5Cron::Editions->needs_the_worker($node);
#   ...                              # the extension alone
package Wee5Cron::Editions;

use strict;
use warnings;

use Test::More;

use Wee5Cron::Node;

sub start_node {
    my ($class, $name) = @_;
    return ($ENV{WEE5_EDITION} // '') eq 'portable' ? Wee5Cron::PortableNode->start_new($name) : Wee5Cron::Node->start_new($name);
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
    return;
}

sub invocation_when {
    my ($self, $database, $id, $condition) = @_;
    my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
    while (time < $deadline) {
        $self->deliver_and_harvest;
        my ($row) = $self->rows($database, "SELECT * FROM wee5_cron.invocation WHERE id = $id AND ($condition)");
        return $row if $row;
        usleep(100_000);
    }
    die "call $id did not come to: $condition\n" . $self->_ledger_and_worker($database);
}

sub wait_until_all_finished {
    my ($self, $database) = @_;
    my $deadline = time + $PostgreSQL::Test::Utils::timeout_default;
    while (time < $deadline) {
        return if $self->safe_psql($database, 'SELECT count(*) FROM wee5_cron.invocation WHERE finished_at IS NULL') == 0;
        $self->deliver_and_harvest;
        usleep(100_000);
    }
    die "not all calls of $database have ended\n" . $self->_ledger_and_worker($database);
}

1;
