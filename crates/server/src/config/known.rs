//! RocketMQ's settings that mean nothing here, and why; all that RocketMQ 5.5 has.

/// Keys that mean nothing for the same reason.
pub(super) struct Group {
    pub(super) reason: &'static str,
    /// Separated by blanks.
    keys: &'static str,
}

impl Group {
    pub(super) fn keys(&self) -> impl Iterator<Item = &'static str> {
        self.keys.split(' ')
    }
}

/// A key that must have one value, since any other asks for something that is not there.
pub(super) struct Fixed {
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    /// Why not another.
    pub(super) reason: &'static str,
}

/// What is known about a key that is no setting.
pub(super) enum Known {
    /// It has no effect, because ...
    Ignored(&'static str),
    /// It must have one value.
    Fixed(&'static Fixed),
}

/// Looks a key up.
pub(super) fn find(key: &str) -> Option<Known> {
    if let Some(fixed) = FIXED.iter().find(|fixed| fixed.key == key) {
        return Some(Known::Fixed(fixed));
    }
    let group = GROUPS.iter().find(|group| group.keys().any(|known| known == key))?;
    Some(Known::Ignored(group.reason))
}

/// The key that is meant: guides for RocketMQ spell some in ways that it never read or reads no more.
pub(super) fn canonical(key: &str) -> &str {
    match key {
        "mapedFileSizeCommitLog" => "mappedFileSizeCommitLog",
        "mapedFileSizeConsumeQueue" => "mappedFileSizeConsumeQueue",
        other => other,
    }
}

pub(super) const NO_SLAVES: &str = "masters with slaves and the controller mode are not there; replicas are a group of 3 or 5 \
                                    (enableDLegerCommitLog=true, docs/replication.md)";
pub(super) const ONE_DIRECTORY: &str = "all data lies in the one directory of storePathRootDir (or --data DIR), not in \
                                        the one named here; to have it on another disk, name a directory there";
const NO_AUTH: &str = "users and permissions are not there yet, everybody could do everything";

/// Whoever asks for protection is not served without it.
pub(super) const FIXED: &[Fixed] = &[
    Fixed { key: "enableControllerMode", value: "false", reason: NO_SLAVES },
    Fixed { key: "totalReplicas", value: "1", reason: NO_SLAVES },
    Fixed { key: "inSyncReplicas", value: "1", reason: NO_SLAVES },
    Fixed { key: "minInSyncReplicas", value: "1", reason: NO_SLAVES },
    Fixed { key: "allAckInSyncStateSet", value: "false", reason: NO_SLAVES },
    Fixed { key: "aclEnable", value: "false", reason: NO_AUTH },
    Fixed { key: "authenticationEnabled", value: "false", reason: NO_AUTH },
    Fixed { key: "authorizationEnabled", value: "false", reason: NO_AUTH },
];

/// Whoever sets one of these is warned once.
pub(super) const GROUPS: &[Group] = &[
    Group {
        reason: "old files are removed when they are due, without pauses, and queues have no files of their own",
        keys: "deleteCommitLogFilesInterval deleteConsumeQueueFilesInterval deleteFileBatchMax \
               destroyMapedFileIntervalForcibly enableCleanExpiredOffset \
               logicalDiskSpaceCleanForciblyThreshold maxBatchDeleteFilesNum redeleteHangedFileInterval \
               replicasPerDiskPartition",
    },
    Group {
        reason: "positions of consumers are records in the log, as durable as messages",
        keys: "broadcastOffsetExpireMaxSecond broadcastOffsetExpireSecond consumerOffsetUpdateVersionStep \
               enableBroadcastOffsetStore flushConsumerOffsetHistoryInterval flushConsumerOffsetInterval \
               persistConsumerOffsetIncrementally",
    },
    Group {
        reason: "the progress of delayed messages is in the log; delivery at a time of the sender's choice (TIMER_*) is \
                 not there yet: such messages are refused, not delivered at once",
        keys: "allowRecallWhenBrokerNotWriteable appendTopicForTimerDeleteKey delayOffsetUpdateVersionStep \
               enableScheduleAsyncDeliver enableScheduleMessageStats flushDelayOffsetInterval \
               mappedFileSizeTimerLog recallMessageEnable scheduleAsyncDeliverMaxPendingLimit \
               scheduleAsyncDeliverMaxResendNum2Blocked timerColdDataCheckIntervalMs timerCongestNumEachSlot \
               timerEnableCheckMetrics timerEnableRetryUntilSuccess timerFlushIntervalMs timerGetMessageThreadNum \
               timerInterceptDelayLevel timerMaxDelaySec timerMetricSmallThreshold timerPrecisionMs \
               timerProgressLogIntervalMs timerPutMessageThreadNum timerRecallToTimelineEnable \
               timerRecallToTimeWheelEnable timerReputServiceCorePoolSize timerReputServiceMaxPoolSize \
               timerReputServiceQueueCapacity timerRocksDBEnable timerRocksDBPrecisionMs \
               timerRocksDBRollIntervalHours timerRocksDBRollMaxTps timerRocksDBRollRangeHours timerRocksDBStopScan \
               timerRocksDBTimeExpiredMaxTps timerRollWindowSlot timerSkipUnknownError timerStopEnqueue \
               timerWheelEnable timerWheelSnapshotFlush timerWheelSnapshotIntervalMs",
    },
    Group {
        reason: "lite topics and light message queues are not there",
        keys: "combineCQUseRocksdbForLmq enableLiteEventMode enableLitePopLog enableLmq enableLmqQuota \
               enableLmqStats enableMultiDispatch liteEventCheckInterval liteEventFullDispatchDelayTime \
               liteEventFullDispatchDelayTimeForWildcardGroup liteLagCountMetricsEnable liteLagLatencyCollectEnable \
               liteLagLatencyMetricsEnable liteLagLatencyTopK litePullMessageEnable litePullMessageThreadPoolNums \
               litePullThreadPoolQueueCapacity liteSubscriptionCheckInterval liteSubscriptionCheckTimeoutMills \
               liteTtlCheckInterval maxClientEventCount maxLiteSubscriptionCount maxLmqConsumeQueueNum minLiteTTl \
               waitTimeMillsInLitePullQueue",
    },
    Group {
        reason: "queues, index and state are not kept in RocksDB",
        keys: "bottomMostCompressionTypeForConsumeQueueStore cleanRocksDBDirtyCQIntervalMin \
               combineAssignOffsetCQType combineCQEnableCheckSelf combineCQLoadingCQTypes \
               combineCQMaxExtraSearchCommitLogFiles combineCQPreferCQType configManagerVersion enableRocksDBLog \
               indexFileReadEnable indexFileWriteEnable indexRocksDBEnable iteratorWhenUseRocksdbConsumeQueue \
               maxRocksDBIndexQueryDays memTableFlushIntervalMs realTimePersistRocksDBConfig rocksdbCompressionType \
               rocksdbCQDoubleWriteEnable rocksdbFlushWalFrequency rocksdbWalFileRollingThreshold \
               statRocksDBCQIntervalSec storeType transactionCheckRocksdbCoreThreads \
               transactionCheckRocksdbMaxThreads transactionCheckRocksdbQueueCapacity transRocksDBEnable \
               useSeparateStorePathForRocksdbCQ useSingleRocksDBForAllConfigs",
    },
    Group {
        reason: "POP consumers are not there yet",
        keys: "appendAckAsync appendCkAsync clearRetryTopicWhenDeleteTopic defaultMessageRequestMode \
               defaultPopShareQueueNum enableNotifyAfterPopOrderLockRelease enableNotifyBeforePopCalculateLag \
               enablePopBatchAck enablePopBufferMerge enablePopLog enablePopMessageThreshold enablePopMetrics \
               enableRetryTopicV2 enableSkipLongAwaitingAck initPopOffsetByCheckMsgInMem \
               maxMessageFilterNumForNotification maxOffsetMapSize maxPopPollingSize popCkMaxBufferSize \
               popCkOffsetMaxQueueSize popCkStayBufferTime popCkStayBufferTimeOut popConsumerFSServiceInit \
               popConsumerKVServiceEnable popConsumerKVServiceInit popConsumerKVServiceLog popFromRetryProbability \
               popFromRetryProbabilityForPriority popInflightMessageThreshold popLongPollingForceNotifyInterval \
               popPollingMapExpireTimeSeconds popPollingMapSize popPollingSize popResponseReturnActualRetryTopic \
               popReviveConcurrency popReviveMaxAttemptTimes popReviveMaxReturnSizePerRead \
               popReviveSkipIfGroupAbsent priorityOrderAsc retrieveMessageFromPopRetryTopicV1 reviveAckWaitMs \
               reviveInterval reviveMaxSlow reviveQueueNum reviveScanTime skipWhenCKRePutReachMaxTimes \
               useMessageFilterForNotification useSeparateRetryQueue",
    },
    Group {
        reason: "transactional messages are not there yet: they are refused",
        keys: "endTransactionPoolQueueCapacity endTransactionThreadPoolNums rejectTransactionMessage \
               transactionCheckInterval transactionCheckMax transactionMetricFlushInterval \
               transactionOpBatchInterval transactionOpMsgMaxSize transactionTimeOut \
               transWriteOriginTransHalfEnable waitTimeMillsInTransactionQueue",
    },
    Group {
        reason: "tiered storage is not there",
        keys: "commitLogRollingInterval commitLogRollingMinimumSize objectStoreAccessKey objectStoreBucket \
               objectStoreEndpoint objectStoreSecretKey readAheadCacheEnable readAheadCacheExpireDuration \
               readAheadCacheSizeThresholdRate readAheadMessageCountThreshold readAheadMessageSizeThreshold \
               recordGetMessageResult tieredBackendServiceProvider tieredMetadataServiceProvider tieredStorageLevel \
               tieredStoreCommitLogMaxSize tieredStoreConsumeQueueMaxSize tieredStoreCrcCheckEnable \
               tieredStoreDeleteFileEnable tieredStoreDeleteFileInterval tieredStoreFilePath \
               tieredStoreFileReservedTime tieredStoreGroupCommit tieredStoreGroupCommitCount \
               tieredStoreGroupCommitSize tieredStoreGroupCommitTimeout tieredStoreIndexFileMaxHashSlotNum \
               tieredStoreIndexFileMaxIndexNum tieredStoreMaxGroupCommitCount tieredStoreMaxPendingLimit",
    },
    Group {
        reason: "older messages are read by threads of their own, within bounds",
        keys: "cgColdReadThreshold coldCtrStrategyEnable coldDataFlowControlEnable coldDataScanEnable \
               dataReadAheadEnable globalColdReadThreshold usePIDColdCtrStrategy",
    },
    Group {
        reason: "compacted topics are not there",
        keys: "compactionCqMappedFileSize compactionMappedFileSize compactionScheduleInternal compactionThreadNum \
               enableCompaction",
    },
    Group {
        reason: "users and permissions are not there yet",
        keys: "aclCacheExpiredSecond aclCacheMaxNum aclCacheRefreshSecond authConfigPath \
               authenticationMetadataProvider authenticationProvider authenticationStrategy authenticationWhitelist \
               authorizationMetadataProvider authorizationProvider authorizationStrategy authorizationWhitelist \
               clusterName configName initAuthenticationUser innerClientAuthenticationCredentials \
               migrateAuthFromV1Enabled statefulAuthenticationCacheExpiredSecond statefulAuthenticationCacheMaxNum \
               statefulAuthorizationCacheExpiredSecond statefulAuthorizationCacheMaxNum userCacheExpiredSecond \
               userCacheMaxNum userCacheRefreshSecond",
    },
    Group {
        reason: "filters are by tag; SQL filters are not there yet: subscriptions with one are refused",
        keys: "bitMapLengthConsumeQueueExt enableCalcFilterBitMap enableConsumeQueueExt enablePropertyFilter \
               expectConsumerNumUseFilter filterDataCleanTimeSpan filterSupportRetry mappedFileSizeConsumeQueueExt \
               maxErrorRateOfBloomFilter",
    },
    Group {
        reason: "message traces and request-reply are not there yet",
        keys: "msgTraceTopicName storeReplyMessageEnable traceOn traceTopicEnable",
    },
    Group {
        reason: "it is of masters with slaves or of the controller mode; replicas here are a group (enableDLegerCommitLog)",
        keys: "asyncLearner brokerElectionPriority brokerHeartbeatInterval brokerIP2 \
               brokerNotActiveTimeoutMillis checkSyncStateSetPeriod compatibleWithOldNameSrv controllerAddr \
               controllerHeartBeatTimeoutMills duplicationEnable \
               enableAutoInSyncReplicas enableBatchPush enableRemoteEscape enableSlaveActingMaster \
               fetchControllerAddrByDnsLookup forwardTimeout haFlowControlEnable haHousekeepingInterval \
               haListenPort haMasterAddress haMaxGapNotInSync haMaxTimeSlaveNotCatchup haSendHeartbeatInterval \
               haTransferBatchSize inBrokerContainer isolateLogEnable lockInStrictMode maxHaTransferByteInSecond \
               maxSlaveResendLength offsetCheckInSlave realTimeNotifyConsumerChange \
               sendHeartbeatTimeoutMillis skipPreOnline slaveReadEnable slaveTimeout storePathBrokerIdentity \
               storePathEpochFile syncBrokerMemberGroupPeriod syncBrokerMetadataPeriod syncControllerMetadataPeriod \
               syncFromLastFile syncMasterFlushOffsetWhenStartup",
    },
    Group {
        reason: "there are no thread pools and queues of requests: one step handles all that has come, bounded by bytes",
        keys: "ackMessageThreadPoolNums ackThreadPoolQueueCapacity adminBrokerThreadPoolNums \
               adminBrokerThreadPoolQueueCapacity asyncSendEnable brokerFastFailureEnable \
               clientManagerThreadPoolQueueCapacity clientManageThreadPoolNums clientRequestThreadPoolNums \
               clientRequestThreadPoolQueueCapacity consumerFallbehindThreshold \
               consumerManagerThreadPoolQueueCapacity consumerManageThreadPoolNums defaultThreadPoolNums \
               defaultThreadPoolQueueCapacity disableConsumeIfConsumerReadSlowly dispatchCqCacheNum \
               dispatchCqThreads dispatchFromSenderThread enableFastChannelEventProcess heartbeatThreadPoolNums \
               heartbeatThreadPoolQueueCapacity highSpeedMode loadBalancePollNameServerInterval \
               loadBalanceProcessorThreadPoolNums loadBalanceThreadPoolQueueCapacity maxAsyncPutMessageRequests \
               osPageCacheBusyTimeOutMills processReplyMessageThreadPoolNums pullMessageThreadPoolNums \
               pullThreadPoolQueueCapacity putMessageFutureThreadPoolNums putMessageTimeout putMsgIndexHightWater \
               putThreadPoolQueueCapacity queryMessageThreadPoolNums queryThreadPoolQueueCapacity \
               replyThreadPoolQueueCapacity sendMessageThreadPoolNums sendThreadPoolQueueCapacity \
               serverLoadBalancerEnable spinLockCollisionRetreatOptimalDegree topicQueueLockNum useABSLock \
               useReentrantLockWhenPutMessage waitTimeMillsInAckQueue waitTimeMillsInAdminBrokerQueue \
               waitTimeMillsInHeartbeatQueue waitTimeMillsInPullQueue waitTimeMillsInSendQueue",
    },
    Group {
        reason: "files are written and read directly, not through memory maps or a pool of buffers",
        keys: "accessMessageInMemoryHotRatio accessMessageInMemoryMaxRatio cleanSwapedMapInterval \
               commitCommitLogLeastPages commitCommitLogThoroughInterval commitIntervalCommitLog \
               commitLogForceSwapMapInterval commitLogSwapMapInterval commitLogSwapMapReserveFileNum \
               diskFallRecorded fastFailIfNoBufferInStorePool flushLeastPagesWhenWarmMapedFile \
               logicQueueForceSwapMapInterval logicQueueSwapMapInterval logicQueueSwapMapReserveFileNum \
               mappedFileSwapEnable sharedByteBufferNum transferMsgByHeap transientStorePoolEnable \
               transientStorePoolSize wakeCommitWhenPutMessage warmMapedFileEnable writeWithoutMmap",
    },
    Group {
        reason: "SYNC_FLUSH syncs every write, ASYNC_FLUSH every flushIntervalCommitLog",
        keys: "enableRunningFlagsInFlush flushCommitLogLeastPages flushCommitLogThoroughInterval \
               flushCommitLogTimed flushConsumeQueueLeastPages flushConsumeQueueThoroughInterval \
               flushIntervalConsumeQueue wakeFlushWhenPutMessage",
    },
    Group {
        reason: "every start verifies checksums over whole records from the last checkpoint on",
        keys: "checkCommitLogOffsetOnRecover checkCRCOnRecover commitLogRecoverMaxNum debugLockEnable \
               enableAcceleratedRecovery enabledAppendPropCRC enableLogConsumeQueueRepeatedlyBuildWhenRecover \
               forceVerifyPropCRC maxChecksumRange maxRecoveryCommitlogFiles recoverConcurrently \
               recoverThreadPoolNums",
    },
    Group {
        reason: "the log and its index have a layout of their own in storePathRootDir",
        keys: "autoMessageVersionOnTopicLen batchDispatchRequestThreadPoolNums correctLogicMinOffsetForceInterval \
               correctLogicMinOffsetSleepInterval enableAsyncReput enableBuildConsumeQueueConcurrently \
               mappedFileSizeConsumeQueue mapperFileSizeBatchConsumeQueue maxConsumeQueueScan maxHashSlotNum \
               maxIndexNum messageIndexEnable messageIndexSafe putConsumeQueueDataByFileChannel \
               readOnlyCommitLogStorePaths readUnCommitted recheckReputOffsetFromCq sampleCountThreshold \
               sampleSteps searchBcqByCacheEnable travelCqFileNumWhenGetMessage",
    },
    Group { reason: ONE_DIRECTORY, keys: "storePathCommitLog storePathDLedgerCommitLog" },
    Group {
        reason: "the bounds of an answer and the life of a silent client are fixed",
        keys: "channelExpiredTimeout defaultQueryMaxNum enableNetWorkFlowControl maxFilterMessageSize \
               maxMsgsNumBatch maxTopicLength maxTransferBytesOnMessageInDisk maxTransferBytesOnMessageInMemory \
               maxTransferCountOnMessageInDisk maxTransferCountOnMessageInMemory pullBatchMaxMessageCount \
               subscriptionExpiredTimeout",
    },
    Group {
        reason: "the topics of the broker and cluster are not made, and every consumer group is served alike",
        keys: "brokerTopicEnable clusterTopicEnable enableCreateSysGroup \
               enableMixedMessageType enableRegisterProducer rejectPullConsumerEnable useStaticSubscription \
               validateSystemTopicWhenUpdateTopic",
    },
    Group {
        reason: "the broker registers all its topics with every name server, whenever one changed and every registerNameServerPeriod",
        keys: "cleanOfflineBrokerInterval compressedRegister enableSingleTopicRegister enableSplitMetadata \
               enableSplitRegistration fetchNamesrvAddrByAddressServer fetchNameSrvAddrByDnsLookup \
               fetchNamesrvAddrInterval forceRegister registerBrokerTimeoutMills splitMetadataSize \
               splitRegistrationSize updateNameServerAddrPeriod",
    },
    Group {
        reason: "/metrics tells everything that is counted, to whoever asks",
        keys: "accountStatsEnable accountStatsPrintZeroValues autoDeleteUnusedStats commercialBaseCount \
               commercialSizePerMsg enableConnectionMetrics enableDetailStat enableLagAndDlqMetrics \
               enableMessageStoreMetrics enableRemotingMetrics enableRequestMetrics enableStatsMetrics \
               enableTransactionMetrics estimateAccumulation maxStatsIdleTimeInMinutes \
               metricGrpcExporterIntervalInMills metricGrpcExporterTimeOutInMills \
               metricLoggingExporterIntervalInMills metricsExportBatchMaxDataPoints metricsGrpcExporterHeader \
               metricsGrpcExporterTarget metricsInDelta metricsLabel metricsOtelCardinalityLimit printChannelGroups \
               printChannelGroupsMinNum",
    },
    Group {
        reason: "the broker takes messages as soon as its log is read, and stops within two seconds",
        keys: "disappearTimeAfterStart enableShutdownGracefully shutdownWaitTimeSeconds \
               startAcceptSendRequestTimeStamp",
    },
    Group {
        reason: "the name server keeps its settings in namesrv/kvConfig.json below storePathRootDir, and nothing else",
        keys: "clusterTest configStorePath deleteTopicWithBrokerRegistration enableAllTopicList \
               enableControllerInNamesrv enableTopicList kvConfigPath needWaitForService notifyMinBrokerIdChanged \
               orderMessageEnable productEnvName returnOrderTopicConfigToBroker supportActingMaster \
               unRegisterBrokerQueueCapacity waitSecondsForService",
    },
    Group {
        reason: "it belongs to the Java program",
        keys: "brokerConfigPath messageStorePlugIn rocketmqHome",
    },
    Group {
        reason: "sockets are handled by another runtime; maxConnections and serverWorkerThreads bound it",
        keys: "channelNotActiveInterval clientAsyncSemaphoreValue clientCallbackExecutorThreads \
               clientChannelMaxIdleTimeSeconds clientCloseSocketIfTimeout clientOnewaySemaphoreValue \
               clientPooledByteBufAllocatorEnable clientSocketRcvBufSize clientSocketSndBufSize clientWorkerThreads \
               connectTimeoutMillis disableCallbackExecutor disableNettyWorkerGroup enableReconnectForGoAway \
               maxReconnectIntervalTimeSeconds scanAvailableNameSrv serverAsyncSemaphoreValue \
               serverCallbackExecutorThreads serverNettyWorkerGroupEnable serverOnewaySemaphoreValue \
               serverPooledByteBufAllocatorEnable serverSelectorThreads serverSocketBacklog serverSocketRcvBufSize \
               serverSocketSndBufSize socksProxyConfig useEpollNativeSelector writeBufferHighWaterMark \
               writeBufferLowWaterMark",
    },
    Group { reason: "TLS is not there yet: connections are not encrypted", keys: "useTLS" },
    Group {
        reason: "there is nothing to hide from tools: every setting can be read, and no path can be changed",
        keys: "configBlackList",
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::table::KEYS;
    use super::*;

    #[test]
    fn every_key_has_one_meaning() {
        let fixed = FIXED.iter().map(|fixed| fixed.key);
        let ignored = GROUPS.iter().flat_map(Group::keys);
        let mut seen = BTreeSet::new();
        for key in KEYS.iter().copied().chain(fixed).chain(ignored) {
            assert!(!key.is_empty() && seen.insert(key), "{key:?} is there twice");
        }
    }
}
