%% @private Sends for Python what cannot be sent from outside the VM's schedulers: messages to other nodes. One process
%% for each node, which may have to wait for a connection, and which ends when it had nothing to do for a while.
-module(py_callback_sender).

-behaviour(gen_server).

-export([start_link/0]).
-export([init/1, handle_call/3, handle_cast/2, handle_info/2]).

-define(IDLE, 60000).

-spec start_link() -> {ok, pid()} | {error, term()}.
start_link() ->
    gen_server:start_link({local, ?MODULE}, ?MODULE, [], []).

-spec init([]) -> {ok, #{node() => pid()}}.
init([]) ->
    {ok, #{}}.

-spec handle_call(term(), gen_server:from(), Nodes) -> {reply, {error, unknown_call}, Nodes}.
handle_call(_Request, _From, Nodes) ->
    {reply, {error, unknown_call}, Nodes}.

-spec handle_cast(term(), Nodes) -> {noreply, Nodes}.
handle_cast(_Message, Nodes) ->
    {noreply, Nodes}.

-spec handle_info(term(), Nodes) -> {noreply, Nodes}.
handle_info({python_send, Destination, _} = Message, Nodes) ->
    Node = node_of(Destination),
    case Nodes of
        #{Node := Sender} ->
            Sender ! Message,
            {noreply, Nodes};
        #{} ->
            Server = self(),
            Sender = spawn_link(fun() -> send_loop(Node, Server) end),
            Sender ! Message,
            {noreply, Nodes#{Node => Sender}}
    end;
handle_info({idle, Node, Sender}, Nodes) ->
    %% What was sent to it before this is still in its mailbox.
    Sender ! leave,
    {noreply, maps:remove(Node, Nodes)};
handle_info(_Message, Nodes) ->
    {noreply, Nodes}.

node_of({_, Node}) -> Node;
node_of(Pid) -> node(Pid).

send_loop(Node, Server) ->
    receive
        {python_send, Destination, Term} ->
            _ = Destination ! Term,
            send_loop(Node, Server)
    after ?IDLE ->
        Server ! {idle, Node, self()},
        send_rest()
    end.

send_rest() ->
    receive
        {python_send, Destination, Term} ->
            _ = Destination ! Term,
            send_rest();
        leave ->
            ok
    end.
