# receiver.js for Perl: starts it, controls it through its control port, reads its records.
package Wee5Cron::Receiver;

use strict;
use warnings;

use Cwd qw(abs_path);
use File::Basename qw(dirname basename);
use HTTP::Tiny;
use JSON::PP;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

use Wee5Cron::Process;

my $script = abs_path(dirname(__FILE__) . '/../receiver.js');
my $count  = 0;

# Wee5Cron::Receiver->start(secret => '...', tls => { cert => FILE, key => FILE }, address => '127.0.0.1')
sub start {
    my ($class, %params) = @_;
    $count++;
    my $base = "$PostgreSQL::Test::Utils::log_path/" . basename($0, '.pl') . "_receiver_$count";
    unlink "$base.jsonl";
    PostgreSQL::Test::Utils::append_to_file("$base.jsonl", '');

    my $address = $params{address} // '127.0.0.1';
    my @tls = $params{tls} ? ('--cert', $params{tls}{cert}, '--key', $params{tls}{key}) : ();
    my $process = Wee5Cron::Process->start(
        command => [ 'node', $script, '--records', "$base.jsonl", '--address', $address, @tls ],
        env     => { RECEIVER_SECRET => $params{secret} },
        log     => "$base.log",
        until   => qr/^listening \d+$/m,
    );
    my ($control) = $process->output =~ /^control (\d+)$/m;
    my ($port)    = $process->output =~ /^listening (\d+)$/m;
    return bless {
        process => $process,
        control => $control,
        address => $address,
        port    => $port,
        scheme  => $params{tls} ? 'https' : 'http',
        records => "$base.jsonl",
    }, $class;
}

sub port {
    my ($self) = @_;
    return $self->{port};
}

sub url {
    my ($self) = @_;
    return "$self->{scheme}://$self->{address}:$self->{port}";
}

sub stop {
    my ($self) = @_;
    $self->{process}->stop;
    return;
}

sub _control {
    my ($self, $command) = @_;
    my $answer = HTTP::Tiny->new(timeout => 30)->post("http://127.0.0.1:$self->{control}$command");
    die "receiver: $command: $answer->{status} $answer->{content}\n" unless $answer->{success};
    return;
}

# Answers every hanging request, with `status` (200).
sub release {
    my ($self, $status) = @_;
    return $self->_control('/release?status=' . ($status // 200));
}

# The same, and from now on /hang answers at once.
sub release_for_good {
    my ($self) = @_;
    return $self->_control('/release?keep=1');
}

# Answers one hanging request, by its number.
sub finish {
    my ($self, $number) = @_;
    return $self->_control("/finish?n=$number");
}

# After release_for_good(): /hang hangs again.
sub hold {
    my ($self) = @_;
    return $self->_control('/hold');
}

# From now on the path gets this answer: answers('/x', status => 200, type => 'text/html', body => '...',
# headers => [ 'Age: 5' ]), or raw => "HTTP/1.1 ..." with these bytes.
sub answers {
    my ($self, $path, %answer) = @_;
    my @headers = map { s/: /:/r } @{ delete $answer{headers} // [] };
    $answer{raw} =~ s/([^ -~]|%)/sprintf '%%%02X', ord $1/ge if defined $answer{raw};
    my @pairs = ([ path => $path ], (map { [ $_ => $answer{$_} ] } sort keys %answer), map { [ header => $_ ] } @headers);
    my $query = join '&', map { my ($name, $value) = @$_; $value =~ s/([^A-Za-z0-9_.\/-])/sprintf '%%%02X', ord $1/ge; "$name=$value" } @pairs;
    return $self->_control("/answer?$query");
}

# The app is down: connections are refused on its port.
sub close_port {
    my ($self) = @_;
    return $self->_control('/close');
}

sub open_port {
    my ($self) = @_;
    return $self->_control('/open');
}

# The whole lines that have come since the last call with this name: who waits for a request asks often.
sub _new_lines {
    my ($self, $reader) = @_;
    open my $file, '<', $self->{records} or die "$self->{records}: $!";
    seek $file, $self->{read_to}{$reader} // 0, 0;
    my @lines;
    while (my $line = <$file>) {
        last unless $line =~ /\n\z/;
        $self->{read_to}{$reader} = tell $file;
        push @lines, $line;
    }
    close $file;
    return @lines;
}

# All records so far, oldest first.
sub records {
    my ($self) = @_;
    push @{ $self->{decoded} }, map { decode_json($_) } $self->_new_lines('records');
    return @{ $self->{decoded} // [] };
}

# The requests so far, oldest first, of one path (without its query) or of a pattern if given.
sub requests {
    my ($self, $path) = @_;
    my @requests = grep { $_->{event} eq 'request' } $self->records;
    return @requests unless defined $path;
    return grep { ref $path ? $_->{path} =~ $path : $_->{path} eq $path } @requests;
}

# Every request so far, in short: url, key (its Idempotency-Key), id (of the invocation), from (which address), time (in
# ms). Not decoded as JSON, since it is made for thousands of them.
sub deliveries {
    my ($self) = @_;
    for my $line ($self->_new_lines('deliveries')) {
        next unless $line =~ /^\{"event":"request"/;
        my ($url) = $line =~ /"url":"([^"]*)"/;
        my ($key) = $line =~ /"idempotency-key":"([^"]*)"/;
        my ($id)  = $line =~ /"x-wee5-cron-invocation":"(\d+)"/;
        my ($time) = $line =~ /"time":(\d+)\}/;
        my ($from) = $line =~ /"from":"([^"]*)"/;
        push @{ $self->{deliveries} }, { url => $url, key => $key, id => $id, from => $from, time => $time };
    }
    return $self->{deliveries} //= [];
}

# How many requests of the path there were, and how many of them at once.
sub concurrency {
    my ($self, $path) = @_;
    open my $file, '<', $self->{records} or die "$self->{records}: $!";
    my ($count, $most) = (0, 0);
    while (my $line = <$file>) {
        next unless $line =~ /^\{"event":"request".*"path":"\Q$path\E".*"at_once":(\d+)/;
        ++$count;
        $most = $1 if $1 > $most;
    }
    close $file;
    return ($count, $most);
}

# Waits until `count` (1) requests of the path have come, and returns them.
sub wait_for_requests {
    my ($self, $path, $count) = @_;
    $count //= 1;
    my @requests;
    $self->_wait_until(
        sub { @requests = $self->requests($path); @requests >= $count },
        "$count requests of " . ($path // 'any path'));
    return @requests;
}

# Waits until all requests have come that the worker of a database has sent, and returns how many these are. For a worker that
# sends nothing more. `address` is where it sends from, if other servers send, too.
sub wait_for_all_sent_by {
    my ($self, $node, $database, $address) = @_;
    # The worker publishes its counters before it waits.
    my $worker = 'wee5_cron.worker w WHERE w.datname = current_database()';
    $node->poll_query_until($database, "SELECT wait_event_type = 'Extension' FROM pg_stat_activity WHERE pid = (SELECT pid FROM $worker)")
      or die "the worker does not wait\n";
    my $sent = $node->safe_psql($database, "SELECT sent FROM $worker");
    my $arrived;
    $self->_wait_until(
        sub { $arrived = grep { !defined $address || $_->{from} eq $address } @{ $self->deliveries }; $arrived >= $sent },
        "all $sent requests of the worker");
    return $arrived;
}

# Waits until the caller of a request of that path has closed the connection before it was answered.
sub wait_until_gone {
    my ($self, $path, $count) = @_;
    $count //= 1;
    $self->_wait_until(
        sub { $count <= grep { $_->{event} eq 'gone' && $_->{path} eq $path } $self->records },
        "the caller of $path to go away");
    return;
}

sub _wait_until {
    my ($self, $condition, $what) = @_;
    my $until = Time::HiRes::time() + $PostgreSQL::Test::Utils::timeout_default;
    until ($condition->()) {
        if (Time::HiRes::time() > $until) {
            my @seen = map { "$_->{event} " . ($_->{url} // '') } $self->records;
            die "waited in vain for $what; seen: @seen[($#seen > 20 ? $#seen - 20 : 0) .. $#seen]\n";
        }
        usleep(20_000);
    }
    return;
}

1;
