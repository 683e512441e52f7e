# Audits a test that kills something. It records which calls were committed or rolled back and what the receiver saw, and
# checks afterwards that the ledger agrees.
#
#   use Wee5Cron::Audit;
#   my $audit = Wee5Cron::Audit->new($node, 'postgres', $receiver);
#   $audit->commit_calls(5_200);
#   $audit->roll_back_calls(100);
#   $audit->wait_for_wire(200);      # 200 requests hang at the receiver, and may be sent again
#   ...                              # a process dies, and the receiver answers
#   $audit->nothing_is_lost('kill -9 of the worker');
#
# All calls of an audit have paths /hang?..., so that the receiver decides when they are answered.
package Wee5Cron::Audit;

use strict;
use warnings;

use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $audits = 0;

sub new {
    my ($class, $node, $database, $receiver) = @_;
    $audits++;
    my $already = @{ $receiver->deliveries };
    return bless {
        node       => $node,
        database   => $database,
        receiver   => $receiver,
        name       => "audit-$audits",
        from       => $already,    # what the receiver saw earlier is not ours
        committed  => {},
        may_repeat => {},
        deaths     => [],
    }, $class;
}

# Sets the server that the audit queries from now on, such as the new primary after a failover.
sub asks {
    my ($self, $node) = @_;
    $self->{node} = $node;
    return;
}

# The requests that the receiver got since the audit began.
sub deliveries {
    my ($self) = @_;
    my @ours = @{ $self->{receiver}->deliveries };
    splice @ours, 0, $self->{from};
    return grep { $_->{url} =~ /\?$self->{name}-/ } @ours;
}

# SQL that makes that many calls and returns their ids. Their path contains `kind`.
sub calls {
    my ($self, $count, $kind) = @_;
    return "SELECT invoke_cron_endpoint('/hang?$self->{name}-$kind-' || n) FROM generate_series(1, $count) n";
}

# Makes calls in one transaction and commits it. All of them must arrive.
sub commit_calls {
    my ($self, $count, $kind) = @_;
    my $ids = $self->{node}->safe_psql($self->{database}, $self->calls($count, $kind // 'committed'));
    $self->was_committed(split /\n/, $ids);
    return;
}

sub was_committed {
    my ($self, @ids) = @_;
    $self->{committed}{$_} = 1 for @ids;
    return;
}

# Makes calls and rolls back. None of them may ever arrive.
sub roll_back_calls {
    my ($self, $count) = @_;
    $self->{node}->safe_psql($self->{database}, 'BEGIN; ' . $self->calls($count, 'rolled-back') . '; ROLLBACK');
    return;
}

# Waits until the receiver has that many unanswered requests, besides the first `answered`. Only these may be sent a second
# time.
sub wait_for_wire {
    my ($self, $count, $answered) = @_;
    $answered //= 0;
    my $until = time + $PostgreSQL::Test::Utils::timeout_default;
    my @seen;
    while ((@seen = $self->deliveries) < $answered + $count) {
        die scalar(@seen) . " calls came to the receiver, not $answered and $count\n" if time > $until;
        usleep(20_000);
    }
    splice @seen, 0, $answered;
    $self->may_repeat(map { $_->{key} } @seen);
    return;
}

sub may_repeat {
    my ($self, @keys) = @_;
    $self->{may_repeat}{$_} = 1 for @keys;
    return;
}

# Marks the moment at which the worker dies. The calls that it sent just before may be sent again.
sub worker_dies {
    my ($self) = @_;
    push @{ $self->{deaths} }, 1000 * Time::HiRes::time();
    return;
}

# Whether a call may arrive twice, at these two times: something died between them, or just before the receiver recorded
# the first.
sub _died_between {
    my ($self, $first, $second) = @_;
    return scalar grep { $first < $_ + 3000 && $_ <= $second } @{ $self->{deaths} };
}

# How many calls arrived more than once.
sub repeats {
    my ($self) = @_;
    my %times;
    $times{ $_->{key} }++ for $self->deliveries;
    return scalar grep { $_ > 1 } values %times;
}

# Waits until every call has ended, and compares.
sub nothing_is_lost {
    my ($self, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my ($node, $database) = @$self{qw(node database)};
    $node->wait_until_all_finished($database);
    my %row = map { my %r; @r{qw(id key status answers)} = split /\|/; $r{id} => \%r }
      split /\n/, $node->safe_psql($database, <<'SQL');
SELECT i.id, i.idempotency_key, i.status, count(a.invocation_id) FILTER (WHERE a.http_status IS NOT NULL)
FROM wee5_cron.invocation i LEFT JOIN wee5_cron.attempt a ON a.invocation_id = i.id GROUP BY i.id
SQL
    my @ours = $self->deliveries;
    my (%times, %keys_of_id, %ids_of_key, %last, @repeated);
    for my $delivery (@ours) {
        my ($key, $time) = @$delivery{qw(key time)};
        push @repeated, $key
          if $times{$key}++ && !$self->{may_repeat}{$key} && !$self->_died_between($last{$key}, $time);
        $last{$key} = $time;
        $keys_of_id{ $delivery->{id} }{ $delivery->{key} }  = 1;
        $ids_of_key{ $delivery->{key} }{ $delivery->{id} }  = 1;
    }
    my @committed = sort { $a <=> $b } keys %{ $self->{committed} };
    _none("$name: every committed call is in the ledger, succeeded",
        grep { !$row{$_} || $row{$_}{status} ne 'succeeded' } @committed);
    _none('... and was delivered', grep { !$row{$_} || !$times{ $row{$_}{key} } } @committed);
    _none('... and is recorded once', grep { !$row{$_} || $row{$_}{answers} != 1 } @committed);
    _none('... and no call that was rolled back was sent', grep { /rolled-back/ } map { $_->{url} } @ours);
    _none('... and nothing was sent that is not in the ledger',
        grep { my $r = $row{ $_->{id} }; !$r || $r->{key} ne $_->{key} } @ours);
    _none('... and only calls on the wire were sent again', @repeated);
    return _none('... and no id was given twice',
        (grep { keys %{ $keys_of_id{$_} } > 1 } keys %keys_of_id),
        (grep { keys %{ $ids_of_key{$_} } > 1 } keys %ids_of_key));
}

sub _none {
    my ($name, @bad) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    my $good = is(scalar @bad, 0, $name);
    diag('for example ' . join ', ', map { ref $_ ? "$_->{id} $_->{key}" : $_ } @bad[ 0 .. ($#bad > 4 ? 4 : $#bad) ]) unless $good;
    return $good;
}

1;
