namespace Shim.Tests.Transport;

internal sealed partial class ContainerdProtocolTests
{
    /// <summary>
    /// Names, numbers and types as protoc reads them out of containerd's own files (containerd after 2.3 and its cgroups library), but for
    /// runc's criu_path, which 1.x has: each message, enumeration and service with its members.
    /// </summary>
    private const string Contract = """
        containerd.events.TaskCheckpointed
            1 container_id string, 2 checkpoint string
        containerd.events.TaskCreate
            1 container_id string, 2 bundle string, 3 rootfs repeated containerd.types.Mount, 4 io containerd.events.TaskIO, 5 checkpoint string,
            6 pid uint32
        containerd.events.TaskDelete
            1 container_id string, 2 pid uint32, 3 exit_status uint32, 4 exited_at google.protobuf.Timestamp, 5 id string
        containerd.events.TaskExecAdded
            1 container_id string, 2 exec_id string
        containerd.events.TaskExecStarted
            1 container_id string, 2 exec_id string, 3 pid uint32
        containerd.events.TaskExit
            1 container_id string, 2 id string, 3 pid uint32, 4 exit_status uint32, 5 exited_at google.protobuf.Timestamp
        containerd.events.TaskIO
            1 stdin string, 2 stdout string, 3 stderr string, 4 terminal bool
        containerd.events.TaskOOM
            1 container_id string
        containerd.events.TaskPaused
            1 container_id string
        containerd.events.TaskResumed
            1 container_id string
        containerd.events.TaskStart
            1 container_id string, 2 pid uint32
        containerd.runc.v1.CheckpointOptions
            1 exit bool, 2 open_tcp bool, 3 external_unix_sockets bool, 4 terminal bool, 5 file_locks bool, 6 empty_namespaces repeated string,
            7 cgroups_mode string, 8 image_path string, 9 work_path string, 10 parent_path string
        containerd.runc.v1.Options
            1 no_pivot_root bool, 2 no_new_keyring bool, 3 shim_cgroup string, 4 io_uid uint32, 5 io_gid uint32, 6 binary_name string,
            7 root string, 8 criu_path string, 9 systemd_cgroup bool, 10 criu_image_path string, 11 criu_work_path string,
            12 task_api_address string, 13 task_api_version uint32
        containerd.runc.v1.ProcessDetails
            1 exec_id string
        containerd.runtime.bootstrap.v1.BootstrapParams
            1 instance_id string, 2 namespace string, 3 log_level containerd.runtime.bootstrap.v1.LogLevel, 4 containerd_version string,
            5 containerd_ttrpc_address string, 6 containerd_grpc_address string, 7 containerd_binary string,
            8 extensions repeated containerd.runtime.bootstrap.v1.Extension, 9 socket_dir optional string
        containerd.runtime.bootstrap.v1.BootstrapResult
            1 version int32, 2 address string, 3 protocol string, 4 capabilities repeated containerd.runtime.bootstrap.v1.Capability,
            5 metadata repeated containerd.runtime.bootstrap.v1.BootstrapResult.MetadataEntry
        containerd.runtime.bootstrap.v1.Capability
            0 CAPABILITY_UNSPECIFIED
        containerd.runtime.bootstrap.v1.Extension
            1 value google.protobuf.Any
        containerd.runtime.bootstrap.v1.LogLevel
            0 LOG_LEVEL_INFO, -8 LOG_LEVEL_TRACE, -4 LOG_LEVEL_DEBUG, 4 LOG_LEVEL_WARN, 8 LOG_LEVEL_ERROR, 10 LOG_LEVEL_FATAL, 12 LOG_LEVEL_PANIC
        containerd.services.events.ttrpc.v1.Events
            Forward(containerd.services.events.ttrpc.v1.ForwardRequest -> google.protobuf.Empty)
        containerd.services.events.ttrpc.v1.ForwardRequest
            1 envelope containerd.types.Envelope
        containerd.services.events.v1.Events
            Publish(containerd.services.events.v1.PublishRequest -> google.protobuf.Empty),
            Forward(containerd.services.events.v1.ForwardRequest -> google.protobuf.Empty),
            Subscribe(containerd.services.events.v1.SubscribeRequest -> stream containerd.types.Envelope)
        containerd.services.events.v1.ForwardRequest
            1 envelope containerd.types.Envelope
        containerd.services.events.v1.PublishRequest
            1 topic string, 2 event google.protobuf.Any
        containerd.services.events.v1.SubscribeRequest
            1 filters repeated string
        containerd.task.v2.CheckpointTaskRequest
            1 id string, 2 path string, 3 options google.protobuf.Any
        containerd.task.v2.CloseIORequest
            1 id string, 2 exec_id string, 3 stdin bool
        containerd.task.v2.ConnectRequest
            1 id string
        containerd.task.v2.ConnectResponse
            1 shim_pid uint32, 2 task_pid uint32, 3 version string
        containerd.task.v2.CreateTaskRequest
            1 id string, 2 bundle string, 3 rootfs repeated containerd.types.Mount, 4 terminal bool, 5 stdin string, 6 stdout string,
            7 stderr string, 8 checkpoint string, 9 parent_checkpoint string, 10 options google.protobuf.Any
        containerd.task.v2.CreateTaskResponse
            1 pid uint32
        containerd.task.v2.DeleteRequest
            1 id string, 2 exec_id string
        containerd.task.v2.DeleteResponse
            1 pid uint32, 2 exit_status uint32, 3 exited_at google.protobuf.Timestamp
        containerd.task.v2.ExecProcessRequest
            1 id string, 2 exec_id string, 3 terminal bool, 4 stdin string, 5 stdout string, 6 stderr string, 7 spec google.protobuf.Any
        containerd.task.v2.ExecProcessResponse
        containerd.task.v2.KillRequest
            1 id string, 2 exec_id string, 3 signal uint32, 4 all bool
        containerd.task.v2.PauseRequest
            1 id string
        containerd.task.v2.PidsRequest
            1 id string
        containerd.task.v2.PidsResponse
            1 processes repeated containerd.v1.types.ProcessInfo
        containerd.task.v2.ResizePtyRequest
            1 id string, 2 exec_id string, 3 width uint32, 4 height uint32
        containerd.task.v2.ResumeRequest
            1 id string
        containerd.task.v2.ShutdownRequest
            1 id string, 2 now bool
        containerd.task.v2.StartRequest
            1 id string, 2 exec_id string
        containerd.task.v2.StartResponse
            1 pid uint32
        containerd.task.v2.StateRequest
            1 id string, 2 exec_id string
        containerd.task.v2.StateResponse
            1 id string, 2 bundle string, 3 pid uint32, 4 status containerd.v1.types.Status, 5 stdin string, 6 stdout string, 7 stderr string,
            8 terminal bool, 9 exit_status uint32, 10 exited_at google.protobuf.Timestamp, 11 exec_id string
        containerd.task.v2.StatsRequest
            1 id string
        containerd.task.v2.StatsResponse
            1 stats google.protobuf.Any
        containerd.task.v2.Task
            State(containerd.task.v2.StateRequest -> containerd.task.v2.StateResponse),
            Create(containerd.task.v2.CreateTaskRequest -> containerd.task.v2.CreateTaskResponse),
            Start(containerd.task.v2.StartRequest -> containerd.task.v2.StartResponse),
            Delete(containerd.task.v2.DeleteRequest -> containerd.task.v2.DeleteResponse),
            Pids(containerd.task.v2.PidsRequest -> containerd.task.v2.PidsResponse),
            Pause(containerd.task.v2.PauseRequest -> google.protobuf.Empty), Resume(containerd.task.v2.ResumeRequest -> google.protobuf.Empty),
            Checkpoint(containerd.task.v2.CheckpointTaskRequest -> google.protobuf.Empty),
            Kill(containerd.task.v2.KillRequest -> google.protobuf.Empty), Exec(containerd.task.v2.ExecProcessRequest -> google.protobuf.Empty),
            ResizePty(containerd.task.v2.ResizePtyRequest -> google.protobuf.Empty),
            CloseIO(containerd.task.v2.CloseIORequest -> google.protobuf.Empty),
            Update(containerd.task.v2.UpdateTaskRequest -> google.protobuf.Empty),
            Wait(containerd.task.v2.WaitRequest -> containerd.task.v2.WaitResponse),
            Stats(containerd.task.v2.StatsRequest -> containerd.task.v2.StatsResponse),
            Connect(containerd.task.v2.ConnectRequest -> containerd.task.v2.ConnectResponse),
            Shutdown(containerd.task.v2.ShutdownRequest -> google.protobuf.Empty)
        containerd.task.v2.UpdateTaskRequest
            1 id string, 2 resources google.protobuf.Any, 3 annotations repeated containerd.task.v2.UpdateTaskRequest.AnnotationsEntry
        containerd.task.v2.WaitRequest
            1 id string, 2 exec_id string
        containerd.task.v2.WaitResponse
            1 exit_status uint32, 2 exited_at google.protobuf.Timestamp
        containerd.task.v3.CheckpointTaskRequest
            1 id string, 2 path string, 3 options google.protobuf.Any
        containerd.task.v3.CloseIORequest
            1 id string, 2 exec_id string, 3 stdin bool
        containerd.task.v3.ConnectRequest
            1 id string
        containerd.task.v3.ConnectResponse
            1 shim_pid uint32, 2 task_pid uint32, 3 version string
        containerd.task.v3.CreateTaskRequest
            1 id string, 2 bundle string, 3 rootfs repeated containerd.types.Mount, 4 terminal bool, 5 stdin string, 6 stdout string,
            7 stderr string, 8 checkpoint string, 9 parent_checkpoint string, 10 options google.protobuf.Any
        containerd.task.v3.CreateTaskResponse
            1 pid uint32
        containerd.task.v3.DeleteRequest
            1 id string, 2 exec_id string
        containerd.task.v3.DeleteResponse
            1 pid uint32, 2 exit_status uint32, 3 exited_at google.protobuf.Timestamp
        containerd.task.v3.ExecProcessRequest
            1 id string, 2 exec_id string, 3 terminal bool, 4 stdin string, 5 stdout string, 6 stderr string, 7 spec google.protobuf.Any
        containerd.task.v3.ExecProcessResponse
        containerd.task.v3.KillRequest
            1 id string, 2 exec_id string, 3 signal uint32, 4 all bool
        containerd.task.v3.PauseRequest
            1 id string
        containerd.task.v3.PidsRequest
            1 id string
        containerd.task.v3.PidsResponse
            1 processes repeated containerd.v1.types.ProcessInfo
        containerd.task.v3.ResizePtyRequest
            1 id string, 2 exec_id string, 3 width uint32, 4 height uint32
        containerd.task.v3.ResumeRequest
            1 id string
        containerd.task.v3.ShutdownRequest
            1 id string, 2 now bool
        containerd.task.v3.StartRequest
            1 id string, 2 exec_id string
        containerd.task.v3.StartResponse
            1 pid uint32
        containerd.task.v3.StateRequest
            1 id string, 2 exec_id string
        containerd.task.v3.StateResponse
            1 id string, 2 bundle string, 3 pid uint32, 4 status containerd.v1.types.Status, 5 stdin string, 6 stdout string, 7 stderr string,
            8 terminal bool, 9 exit_status uint32, 10 exited_at google.protobuf.Timestamp, 11 exec_id string
        containerd.task.v3.StatsRequest
            1 id string
        containerd.task.v3.StatsResponse
            1 stats google.protobuf.Any
        containerd.task.v3.Task
            State(containerd.task.v3.StateRequest -> containerd.task.v3.StateResponse),
            Create(containerd.task.v3.CreateTaskRequest -> containerd.task.v3.CreateTaskResponse),
            Start(containerd.task.v3.StartRequest -> containerd.task.v3.StartResponse),
            Delete(containerd.task.v3.DeleteRequest -> containerd.task.v3.DeleteResponse),
            Pids(containerd.task.v3.PidsRequest -> containerd.task.v3.PidsResponse),
            Pause(containerd.task.v3.PauseRequest -> google.protobuf.Empty), Resume(containerd.task.v3.ResumeRequest -> google.protobuf.Empty),
            Checkpoint(containerd.task.v3.CheckpointTaskRequest -> google.protobuf.Empty),
            Kill(containerd.task.v3.KillRequest -> google.protobuf.Empty), Exec(containerd.task.v3.ExecProcessRequest -> google.protobuf.Empty),
            ResizePty(containerd.task.v3.ResizePtyRequest -> google.protobuf.Empty),
            CloseIO(containerd.task.v3.CloseIORequest -> google.protobuf.Empty),
            Update(containerd.task.v3.UpdateTaskRequest -> google.protobuf.Empty),
            Wait(containerd.task.v3.WaitRequest -> containerd.task.v3.WaitResponse),
            Stats(containerd.task.v3.StatsRequest -> containerd.task.v3.StatsResponse),
            Connect(containerd.task.v3.ConnectRequest -> containerd.task.v3.ConnectResponse),
            Shutdown(containerd.task.v3.ShutdownRequest -> google.protobuf.Empty)
        containerd.task.v3.UpdateTaskRequest
            1 id string, 2 resources google.protobuf.Any, 3 annotations repeated containerd.task.v3.UpdateTaskRequest.AnnotationsEntry
        containerd.task.v3.WaitRequest
            1 id string, 2 exec_id string
        containerd.task.v3.WaitResponse
            1 exit_status uint32, 2 exited_at google.protobuf.Timestamp
        containerd.types.Envelope
            1 timestamp google.protobuf.Timestamp, 2 namespace string, 3 topic string, 4 event google.protobuf.Any
        containerd.types.Metric
            1 timestamp google.protobuf.Timestamp, 2 id string, 3 data google.protobuf.Any
        containerd.types.Mount
            1 type string, 2 source string, 3 target string, 4 options repeated string
        containerd.types.RuntimeInfo
            1 name string, 2 version containerd.types.RuntimeVersion, 3 options google.protobuf.Any, 4 features google.protobuf.Any,
            5 annotations repeated containerd.types.RuntimeInfo.AnnotationsEntry
        containerd.types.RuntimeRequest
            1 runtime_path string, 2 options google.protobuf.Any
        containerd.types.RuntimeVersion
            1 version string, 2 revision string
        containerd.v1.types.ProcessInfo
            1 pid uint32, 2 info google.protobuf.Any
        containerd.v1.types.Status
            0 UNKNOWN, 1 CREATED, 2 RUNNING, 3 STOPPED, 4 PAUSED, 5 PAUSING
        io.containerd.cgroups.v1.BlkIOEntry
            1 op string, 2 device string, 3 major uint64, 4 minor uint64, 5 value uint64
        io.containerd.cgroups.v1.BlkIOStat
            1 io_service_bytes_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            2 io_serviced_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            3 io_queued_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            4 io_service_time_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            5 io_wait_time_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            6 io_merged_recursive repeated io.containerd.cgroups.v1.BlkIOEntry, 7 io_time_recursive repeated io.containerd.cgroups.v1.BlkIOEntry,
            8 sectors_recursive repeated io.containerd.cgroups.v1.BlkIOEntry
        io.containerd.cgroups.v1.CPUStat
            1 usage io.containerd.cgroups.v1.CPUUsage, 2 throttling io.containerd.cgroups.v1.Throttle
        io.containerd.cgroups.v1.CPUUsage
            1 total uint64, 2 kernel uint64, 3 user uint64, 4 per_cpu repeated uint64
        io.containerd.cgroups.v1.CgroupStats
            1 nr_sleeping uint64, 2 nr_running uint64, 3 nr_stopped uint64, 4 nr_uninterruptible uint64, 5 nr_io_wait uint64
        io.containerd.cgroups.v1.HugetlbStat
            1 usage uint64, 2 max uint64, 3 failcnt uint64, 4 pagesize string
        io.containerd.cgroups.v1.MemoryEntry
            1 limit uint64, 2 usage uint64, 3 max uint64, 4 failcnt uint64
        io.containerd.cgroups.v1.MemoryOomControl
            1 oom_kill_disable uint64, 2 under_oom uint64, 3 oom_kill uint64
        io.containerd.cgroups.v1.MemoryStat
            1 cache uint64, 2 rss uint64, 3 rss_huge uint64, 4 mapped_file uint64, 5 dirty uint64, 6 writeback uint64, 7 pg_pg_in uint64,
            8 pg_pg_out uint64, 9 pg_fault uint64, 10 pg_maj_fault uint64, 11 inactive_anon uint64, 12 active_anon uint64, 13 inactive_file uint64,
            14 active_file uint64, 15 unevictable uint64, 16 hierarchical_memory_limit uint64, 17 hierarchical_swap_limit uint64,
            18 total_cache uint64, 19 total_rss uint64, 20 total_rss_huge uint64, 21 total_mapped_file uint64, 22 total_dirty uint64,
            23 total_writeback uint64, 24 total_pg_pg_in uint64, 25 total_pg_pg_out uint64, 26 total_pg_fault uint64, 27 total_pg_maj_fault uint64,
            28 total_inactive_anon uint64, 29 total_active_anon uint64, 30 total_inactive_file uint64, 31 total_active_file uint64,
            32 total_unevictable uint64, 33 usage io.containerd.cgroups.v1.MemoryEntry, 34 swap io.containerd.cgroups.v1.MemoryEntry,
            35 kernel io.containerd.cgroups.v1.MemoryEntry, 36 kernel_tcp io.containerd.cgroups.v1.MemoryEntry
        io.containerd.cgroups.v1.Metrics
            1 hugetlb repeated io.containerd.cgroups.v1.HugetlbStat, 2 pids io.containerd.cgroups.v1.PidsStat,
            3 cpu io.containerd.cgroups.v1.CPUStat, 4 memory io.containerd.cgroups.v1.MemoryStat, 5 blkio io.containerd.cgroups.v1.BlkIOStat,
            6 rdma io.containerd.cgroups.v1.RdmaStat, 7 network repeated io.containerd.cgroups.v1.NetworkStat,
            8 cgroup_stats io.containerd.cgroups.v1.CgroupStats, 9 memory_oom_control io.containerd.cgroups.v1.MemoryOomControl
        io.containerd.cgroups.v1.NetworkStat
            1 name string, 2 rx_bytes uint64, 3 rx_packets uint64, 4 rx_errors uint64, 5 rx_dropped uint64, 6 tx_bytes uint64, 7 tx_packets uint64,
            8 tx_errors uint64, 9 tx_dropped uint64
        io.containerd.cgroups.v1.PidsStat
            1 current uint64, 2 limit uint64
        io.containerd.cgroups.v1.RdmaEntry
            1 device string, 2 hca_handles uint32, 3 hca_objects uint32
        io.containerd.cgroups.v1.RdmaStat
            1 current repeated io.containerd.cgroups.v1.RdmaEntry, 2 limit repeated io.containerd.cgroups.v1.RdmaEntry
        io.containerd.cgroups.v1.Throttle
            1 periods uint64, 2 throttled_periods uint64, 3 throttled_time uint64
        io.containerd.cgroups.v2.CPUStat
            1 usage_usec uint64, 2 user_usec uint64, 3 system_usec uint64, 4 nr_periods uint64, 5 nr_throttled uint64, 6 throttled_usec uint64,
            7 psi io.containerd.cgroups.v2.PSIStats, 8 nr_bursts uint64, 9 burst_usec uint64
        io.containerd.cgroups.v2.HugeTlbStat
            1 current uint64, 2 max uint64, 3 pagesize string, 4 failcnt uint64
        io.containerd.cgroups.v2.IOEntry
            1 major uint64, 2 minor uint64, 3 rbytes uint64, 4 wbytes uint64, 5 rios uint64, 6 wios uint64
        io.containerd.cgroups.v2.IOStat
            1 usage repeated io.containerd.cgroups.v2.IOEntry, 2 psi io.containerd.cgroups.v2.PSIStats
        io.containerd.cgroups.v2.MemoryEvents
            1 low uint64, 2 high uint64, 3 max uint64, 4 oom uint64, 5 oom_kill uint64, 6 oom_group_kill uint64
        io.containerd.cgroups.v2.MemoryStat
            1 anon uint64, 2 file uint64, 3 kernel_stack uint64, 4 slab uint64, 5 sock uint64, 6 shmem uint64, 7 file_mapped uint64,
            8 file_dirty uint64, 9 file_writeback uint64, 10 anon_thp uint64, 11 inactive_anon uint64, 12 active_anon uint64,
            13 inactive_file uint64, 14 active_file uint64, 15 unevictable uint64, 16 slab_reclaimable uint64, 17 slab_unreclaimable uint64,
            18 pgfault uint64, 19 pgmajfault uint64, 20 workingset_refault uint64, 21 workingset_activate uint64, 22 workingset_nodereclaim uint64,
            23 pgrefill uint64, 24 pgscan uint64, 25 pgsteal uint64, 26 pgactivate uint64, 27 pgdeactivate uint64, 28 pglazyfree uint64,
            29 pglazyfreed uint64, 30 thp_fault_alloc uint64, 31 thp_collapse_alloc uint64, 32 usage uint64, 33 usage_limit uint64,
            34 swap_usage uint64, 35 swap_limit uint64, 36 max_usage uint64, 37 swap_max_usage uint64, 38 psi io.containerd.cgroups.v2.PSIStats,
            39 workingset_refault_anon uint64, 40 workingset_refault_file uint64, 41 workingset_activate_anon uint64,
            42 workingset_activate_file uint64
        io.containerd.cgroups.v2.Metrics
            1 pids io.containerd.cgroups.v2.PidsStat, 2 cpu io.containerd.cgroups.v2.CPUStat, 4 memory io.containerd.cgroups.v2.MemoryStat,
            5 rdma io.containerd.cgroups.v2.RdmaStat, 6 io io.containerd.cgroups.v2.IOStat, 7 hugetlb repeated io.containerd.cgroups.v2.HugeTlbStat,
            8 memory_events io.containerd.cgroups.v2.MemoryEvents, 9 network repeated io.containerd.cgroups.v2.NetworkStat
        io.containerd.cgroups.v2.NetworkStat
            1 name string, 2 rx_bytes uint64, 3 rx_packets uint64, 4 rx_errors uint64, 5 rx_dropped uint64, 6 tx_bytes uint64, 7 tx_packets uint64,
            8 tx_errors uint64, 9 tx_dropped uint64
        io.containerd.cgroups.v2.PSIData
            1 avg10 double, 2 avg60 double, 3 avg300 double, 4 total uint64
        io.containerd.cgroups.v2.PSIStats
            1 some io.containerd.cgroups.v2.PSIData, 2 full io.containerd.cgroups.v2.PSIData
        io.containerd.cgroups.v2.PidsStat
            1 current uint64, 2 limit uint64
        io.containerd.cgroups.v2.RdmaEntry
            1 device string, 2 hca_handles uint32, 3 hca_objects uint32
        io.containerd.cgroups.v2.RdmaStat
            1 current repeated io.containerd.cgroups.v2.RdmaEntry, 2 limit repeated io.containerd.cgroups.v2.RdmaEntry
        runtimeoptions.v1.Options
            1 type_url string, 2 config_path string, 3 config_body bytes
        """;
}
