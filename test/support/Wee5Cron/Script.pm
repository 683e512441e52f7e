# A script of ours that a test runs and stops. It has a process group of its own, to which a terminal sends Ctrl-C. Each process
# that it starts has the run's mark in its environment. All of them are killed with the test.
#
#   my $run = Wee5Cron::Script->start(command => ["$root/scripts/demo", '--once'], env => { PATH => ... });
#   $run->read_until(qr/building/);
#   kill 'TERM', $run->pid;
#   is($run->ended, 143, '...');
#   $run->nothing_is_left('...');
package Wee5Cron::Script;

use strict;
use warnings;

use PostgreSQL::Test::Utils qw(slurp_file);
use POSIX ();
use Test::More;
use Time::HiRes qw(usleep);

my @started;

# `env` is the whole environment, apart from language and version. `log`: a file that names directories of the run, too.
sub start {
    my ($class, %params) = @_;
    my $mark = "$$-" . @started;
    pipe(my $read, my $write) or die "pipe: $!";
    my $pid = fork() // die "fork: $!";
    if ($pid == 0) {
        POSIX::setpgid(0, 0);
        POSIX::dup2(fileno($write), $_) for 1, 2;
        close $read;
        close $write;
        # The caller may be unable to write to the current directory.
        chdir '/' or POSIX::_exit(126);
        %ENV = (WEE5_RUN => $mark, (map { $_ => $ENV{$_} } grep { exists $ENV{$_} } qw(LANG PG_MAJOR)), %{ $params{env} });
        POSIX::_exit(127) unless exec { $params{command}[0] } @{ $params{command} };
    }
    close $write;
    my $self = bless { pid => $pid, read => $read, mark => "WEE5_RUN=$mark", output => '', log => $params{log}, directories => {} }, $class;
    push @started, $self;
    return $self;
}

sub pid    { my ($self) = @_; return $self->{pid} }
sub log    { my ($self) = @_; return $self->{log} }
sub output { my ($self) = @_; return $self->{output} }

# The processes with the run's mark.
sub processes {
    my ($self) = @_;
    my @pids = grep {
        my $environ = '';
        if (open my $file, '<', "/proc/$_/environ") { local $/; $environ = <$file> // ''; }
        $environ =~ /(?:^|\0)\Q$self->{mark}\E\0/;
    } map { m{(\d+)} } glob '/proc/[0-9]*';
    return @pids;
}

# The directories in /tmp that the run has used until now.
sub directories {
    my ($self) = @_;
    my @cwds = map { readlink("/proc/$_/cwd") // '' } $self->processes;
    my $log  = $self->{log} && -e $self->{log} ? slurp_file($self->{log}) : '';
    my $name = qr{(/tmp/wee5_cron_\w+\.\w+)};
    $self->{directories}{$_} = 1 for (map { m{^$name} } @cwds), $log =~ m{-C $name}g;
    return sort keys %{ $self->{directories} };
}

# Reads until the output matches.
sub read_until {
    my ($self, $until) = @_;
    local $SIG{ALRM} = sub { die "it did not come to $until:\n$self->{output}" };
    alarm $ENV{PG_TEST_TIMEOUT_DEFAULT};
    while ($self->{output} !~ $until) {
        my $read = sysread $self->{read}, $self->{output}, 4096, length $self->{output};
        next if !defined $read && $!{EINTR};
        die "it ended without $until:\n$self->{output}" unless $read;
    }
    alarm 0;
    return;
}

sub stop_reading { my ($self) = @_; close delete $self->{read}; return }

# Reads to the end, and returns the exit status, or 128 plus the signal's number.
sub ended {
    my ($self) = @_;
    local $SIG{ALRM} = sub { die "it does not end:\n$self->{output}" };
    alarm $ENV{PG_TEST_TIMEOUT_DEFAULT};
    if ($self->{read}) { 1 while sysread $self->{read}, $self->{output}, 4096, length $self->{output}; }
    waitpid delete $self->{pid}, 0;
    alarm 0;
    return $? & 127 ? 128 + ($? & 127) : $? >> 8;
}

sub nothing_is_left {
    my ($self, $name) = @_;
    local $Test::Builder::Level = $Test::Builder::Level + 1;
    # A process that was told to end may need a moment.
    for (1 .. 100) { last unless $self->processes; usleep(100_000); }
    is(join(' ', $self->processes), '', "$name: no process is left");
    is(join(' ', grep { -e } $self->directories), '', '... and no directory is left');
    return;
}

END {
    local $?;
    for my $run (grep { $_->{pid} } @started) { kill 'KILL', $run->processes }
}

1;
